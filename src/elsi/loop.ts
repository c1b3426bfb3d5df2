import { type Clock, delay } from '../controller/clock.ts';
import type { Log } from '../controller/log.ts';
import { backoffMs } from '../lib/backoff.ts';
import { ElsiError } from './errors.ts';
import type { SyncMetrics } from './metrics.ts';

/** Monotonic ms since which a round is under way; undefined in a pause, and while another process leads. */
export interface Rounds {
  since: number | undefined;
}

export interface LoopDeps {
  readonly round: (signal: AbortSignal) => Promise<void>;
  /** Kept up to date for whoever asks whether the loop is alive. */
  readonly rounds: Rounds;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly metrics: SyncMetrics;
  readonly log: Log;
}

/** Longest pause while ELSI does not answer. */
const LONGEST_PAUSE_MS = 300_000;

/** A round that has been under way for this long hangs, whatever ELSI does. */
const HANGING_MS = 900_000;

/** Throws when a round hangs. A pause, however long ELSI asked for it, is no hanging, nor is waiting for the lease. */
export function checkRounds({ since }: Rounds, nowMs: number): void {
  if (since !== undefined && nowMs - since > HANGING_MS)
    throw new Error(`a round has been under way for ${Math.round((nowMs - since) / 1000)} s`);
}

/** One round after the other until the signal aborts; never two at once, and no failure ends it. */
export async function runLoop(deps: LoopDeps, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    deps.rounds.since = deps.clock.monotonicMs();
    const error = await deps.round(signal).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    deps.rounds.since = undefined;
    if (signal.aborted) return;
    if (error !== undefined) {
      deps.metrics.polled('error');
      deps.log.warn('Cannot synchronise with ELSI, trying again', { error, failures });
    }
    failures = error === undefined ? 0 : failures + 1;
    await delay(deps.clock, pauseMs(deps, failures, error), signal).catch(() => undefined);
  }
}

/** One wrong Retry-After must not silence the process for days. */
const LONGEST_ASKED_MS = 3_600_000;

/** The interval with a tenth of jitter; after failures longer and longer, and never sooner than ELSI asked for. */
function pauseMs({ intervalMs, random }: LoopDeps, failures: number, error: unknown): number {
  if (failures === 0) return intervalMs * (0.9 + 0.2 * random());
  const longest = Math.max(LONGEST_PAUSE_MS, intervalMs);
  const wait = backoffMs(failures - 1, { baseMs: intervalMs, maxMs: longest, jitter: 0.5 }, random);
  const asked = error instanceof ElsiError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(wait, Math.min(asked, LONGEST_ASKED_MS));
}
