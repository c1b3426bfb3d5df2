/** Decides from the verdicts whether a result is published. Pure. */
import type { AgentRequest } from '../api/request.ts';
import { AgentFailure } from './failure.ts';
import type { AgentCategory } from './failure.ts';
import { listFailures } from './summary.ts';
import type { Verdict } from './verify.ts';

/** Free space of the volume that holds the staging. */
export interface Space {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

const LITTLE_BYTES = 1024 * 1024;
const LITTLE_SHARE = 0.001;

/** What explains the rest comes first: a full volume makes models fail in any way. */
const BY_WEIGHT: readonly AgentCategory[] = [
  'Storage',
  'OutOfMemory',
  'ModelError',
  'MissingOutput',
  'InvalidInput',
];

const HINTS: Readonly<Partial<Record<AgentCategory, string>>> = {
  OutOfMemory: 'raise resources.memory of the model',
  ModelError: "read the model's log (kubectl logs <pod> -c model)",
  MissingOutput: "read the model's log; its outputs must match the model's output templates",
};

/** Undefined when the result may be published, wholly or in part; else the failure of the attempt. */
export function judge(
  request: AgentRequest,
  verdicts: readonly Verdict[],
  space: Space,
): AgentFailure | undefined {
  const failed = verdicts.filter(({ failure }) => failure !== undefined);
  if (failed.length <= request.failure.maxFailedUnits && failed.length < verdicts.length) return undefined;
  const category = weightiest(failed, space);
  const telling = failed.toSorted((a, b) => rank(a, category) - rank(b, category));
  const list = listFailures(
    telling.map(({ unit, failure }) => ({ name: unit.name, reason: failure?.reason ?? '' })),
  );
  const allowed =
    request.failure.maxFailedUnits > 0 ? ` (the model allows ${request.failure.maxFailedUnits})` : '';
  const hint = category === 'Storage' ? storageHint(space) : HINTS[category];
  const advice = hint === undefined ? '' : `. ${hint[0]?.toUpperCase()}${hint.slice(1)}`;
  return new AgentFailure(
    category,
    `${failed.length} of ${verdicts.length} units failed${allowed}: ${list}${advice}`,
  );
}

function rank(verdict: Verdict, category: AgentCategory): number {
  return verdict.failure?.category === category ? 0 : 1;
}

function weightiest(failed: readonly Verdict[], space: Space): AgentCategory {
  if (isFull(space) && failed.some(({ failure }) => failure?.category !== 'InvalidInput')) return 'Storage';
  const present = new Set(failed.map(({ failure }) => failure?.category));
  return BY_WEIGHT.find((category) => present.has(category)) ?? 'MissingOutput';
}

function isFull({ freeBytes, totalBytes }: Space): boolean {
  return freeBytes < LITTLE_BYTES || freeBytes < totalBytes * LITTLE_SHARE;
}

function storageHint({ freeBytes, totalBytes }: Space): string {
  return `the volume is full (${freeBytes} of ${totalBytes} bytes free): free space or enlarge the claim`;
}
