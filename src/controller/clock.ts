/** A pending timer of a {@link Clock}; cancelling a fired timer does nothing. */
export interface ClockTimer {
  cancel(): void;
}

/** All time the runtime sees: wall time for what people read, monotonic time for every duration and deadline. */
export interface Clock {
  now(): Date;
  /** Milliseconds since an arbitrary start; never jumps with the wall clock. */
  monotonicMs(): number;
  setTimeout(callback: () => void, ms: number): ClockTimer;
}

/** Longest delay that Node's timers keep; longer ones would fire at once. */
const MAX_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  setTimeout(callback, ms) {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), MAX_TIMER_MS));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Waits `ms`; rejects with the signal's reason as soon as it aborts. */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(reasonOf(signal));
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal ? reasonOf(signal) : new Error('aborted'));
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** The reason of an aborted signal as an Error, whatever the aborter passed. */
export function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error('The operation was aborted', { cause: reason });
}
