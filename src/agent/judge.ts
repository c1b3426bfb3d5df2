/** Decides from the verdicts whether a result is published. Pure. */
import type { AgentRequest } from '../api/request.ts';
import { AgentFailure } from './failure.ts';
import type { AgentCategory } from './failure.ts';
import type { Space } from './space.ts';
import { listFailures } from './summary.ts';
import type { Tally } from './tally.ts';

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
export function judge(request: AgentRequest, tally: Tally, space: Space): AgentFailure | undefined {
  const { total, failed } = tally;
  if (failed <= request.failure.maxFailedUnits && failed < total) return undefined;
  const category = weightiest(tally, space);
  const telling = [category, ...BY_WEIGHT.filter((other) => other !== category)];
  const first = telling.flatMap((name) => tally.failures.get(name)?.first ?? []);
  const list = listFailures({ count: failed, first });
  const allowed =
    request.failure.maxFailedUnits > 0 ? ` (the model allows ${request.failure.maxFailedUnits})` : '';
  const hint = category === 'Storage' ? storageHint(space) : HINTS[category];
  const advice = hint === undefined ? '' : `. ${hint[0]?.toUpperCase()}${hint.slice(1)}`;
  return new AgentFailure(category, `${failed} of ${total} units failed${allowed}: ${list}${advice}`);
}

/** What a worker said about its failure, unless a full volume explains it. */
export function judgeWorker(failure: AgentFailure | undefined, space: Space): AgentFailure | undefined {
  if (failure === undefined || !isFull(space)) return failure;
  return new AgentFailure('Storage', `${failure.message}; ${storageHint(space)}`);
}

function weightiest({ failed, failures }: Tally, space: Space): AgentCategory {
  if (isFull(space) && failed > (failures.get('InvalidInput')?.count ?? 0)) return 'Storage';
  return BY_WEIGHT.find((category) => failures.has(category)) ?? 'MissingOutput';
}

function isFull({ freeBytes, totalBytes }: Space): boolean {
  return freeBytes < LITTLE_BYTES || freeBytes < totalBytes * LITTLE_SHARE;
}

function storageHint({ freeBytes, totalBytes }: Space): string {
  return `the volume is full (${freeBytes} of ${totalBytes} bytes free): free space or enlarge the claim`;
}
