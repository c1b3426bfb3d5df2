import type { Clock } from './clock.ts';

/**
 * The API server's wall clock. Stamps of objects are made by it, so durations are measured against it: a wall clock of
 * our own that is wrong or jumps would end waits too early or never.
 */
export interface ServerClock {
  /** Our own wall clock until the first answer. */
  now(): Date;
  /** Takes in the Date header of an answer; the other two are our monotonic times around it. */
  note(header: unknown, sentMs: number, receivedMs: number): void;
  /** How far our own wall clock is ahead of the server's, in milliseconds. */
  skewMs(): number;
}

/** Between answers it goes on with the monotonic clock. */
export function createServerClock(clock: Pick<Clock, 'now' | 'monotonicMs'>): ServerClock {
  const ownOffset = (): number => clock.now().getTime() - clock.monotonicMs();
  let offset: number | undefined;
  return {
    now: () => (offset === undefined ? clock.now() : new Date(clock.monotonicMs() + offset)),
    note(header, sentMs, receivedMs) {
      const stamp = typeof header === 'string' ? Date.parse(header) : Number.NaN;
      if (Number.isNaN(stamp)) return;
      // Made between sending and receiving, and cut to whole seconds: the truth lies in this interval.
      const [least, most] = [stamp - receivedMs, stamp + 1000 - sentMs];
      offset = Math.min(Math.max(offset ?? ownOffset(), least), most);
    },
    skewMs: () => (offset === undefined ? 0 : ownOffset() - offset),
  };
}
