import { setTimeout as pause } from 'node:timers/promises';

const DEADLINE_MS = 20_000;
const STEP_MS = 50;

/**
 * Asks again until `probe` returns something; fails after the deadline with the name of what was awaited and the
 * last error. The deadline is when a recovery counts as failed, not a measurement.
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  deadlineMs: number = DEADLINE_MS,
  stepMs: number = STEP_MS,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await pause(stepMs);
  }
}
