export interface Backoff {
  /** Delay before the first retry. */
  readonly baseMs: number;
  /** No delay is longer. */
  readonly maxMs: number;
  /** Share of each delay that is left to chance, 0 to 0.5; it only shortens. @default 0.25 */
  readonly jitter?: number;
}

/** Milliseconds before retry number `attempt` (0-based): doubles up to `maxMs`, then less up to the jitter's share. */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs, jitter = 0.25 }: Backoff,
  random: () => number = Math.random,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(Math.max(0, attempt), 40));
  return full * (1 - jitter * random());
}
