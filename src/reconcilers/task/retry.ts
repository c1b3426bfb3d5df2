import type { FailureRecord, TaskStatus } from '../../api/task.ts';
import { type Category, treatment } from '../../jobs/categories.ts';
import type { ModelSpec } from '../../api/model.ts';
import { sha256 } from '../../lib/hash.ts';
import { truncate } from '../../lib/truncate.ts';

export interface Failed {
  readonly category: Category;
  readonly message: string;
}

export type RetryDecision =
  | {
      readonly again: true;
      readonly afterMs: number;
      readonly failedAttempts: number;
      readonly disruptions: number;
    }
  | {
      readonly again: false;
      readonly failedAttempts: number;
      readonly disruptions: number;
      readonly message: string;
    };

type RetryRules = Pick<ModelSpec['failure'], 'maxAttempts' | 'backoffSeconds'>;

const MAX_PAUSE_SECONDS = 3600;
/** Longest pause between two attempts, jitter included. */
export const MAX_PAUSE_MS = MAX_PAUSE_SECONDS * 1000 * 1.25;
const DISRUPTION_PAUSE_MS = 2000;

/**
 * Whether another attempt follows. `rules` are undefined when the model is gone: nothing starts without it.
 * The jitter comes from the task's UID and the count, so the decision is the same whoever makes it.
 */
export function decideRetry(
  status: TaskStatus | undefined,
  failed: Failed,
  limits: { rules: RetryRules | undefined; maxDisruptions: number; seed: string },
): RetryDecision {
  const how = treatment(failed.category).retry;
  const { failedAttempts = 0, disruptions = 0 } = status ?? {};
  const counts =
    how === 'free'
      ? { failedAttempts, disruptions: disruptions + 1 }
      : { failedAttempts: failedAttempts + 1, disruptions };
  const { rules } = limits;
  if (!rules || how === 'never') return { again: false, ...counts, message: failed.message };
  const used = how === 'free' ? counts.disruptions : counts.failedAttempts;
  const allowed = how === 'free' ? limits.maxDisruptions : rules.maxAttempts - 1;
  if (used > allowed) return { again: false, ...counts, message: `${failed.message}${exhausted(how, used)}` };
  const afterMs = how === 'free' ? DISRUPTION_PAUSE_MS : pause(rules.backoffSeconds, used, limits.seed);
  return { again: true, ...counts, afterMs };
}

function exhausted(how: 'free' | 'counted', used: number): string {
  if (how === 'free') return ` (disrupted ${used} times, more than the operator repeats)`;
  return used > 1 ? ` (${used} attempts failed)` : '';
}

/** Doubles with each failure, plus up to a quarter of jitter so that tasks of one broken node do not return together. */
function pause(backoffSeconds: number, failures: number, seed: string): number {
  const base = Math.min(backoffSeconds * 2 ** (failures - 1), MAX_PAUSE_SECONDS) * 1000;
  const fraction = Number.parseInt(sha256(`${seed}/${failures}`).slice(0, 4), 16) / 0xffff;
  return Math.round(base * (1 + fraction / 4));
}

/** The last five failures, oldest first. */
export function withFailure(status: TaskStatus | undefined, failed: Failed, at: Date): FailureRecord[] {
  const record: FailureRecord = {
    attempt: status?.attempt?.number ?? 1,
    category: failed.category,
    message: truncate(failed.message, 500),
    at: at.toISOString(),
  };
  return [...(status?.failures ?? []), record].slice(-5);
}
