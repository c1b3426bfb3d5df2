import type { Clock, ClockTimer } from '../clock.ts';

/** A clock that moves only when told; timers fire in order of their time. */
export interface ManualClock extends Clock {
  /** Moves time forward, firing due timers one by one and letting promises settle after each. */
  advance(ms: number): Promise<void>;
  /** Moves the wall clock only, as an administrator or NTP would. */
  shiftWall(ms: number): void;
  /** Moves time without firing any timer, as a stopped process sees it. */
  freeze(ms: number): void;
  readonly pending: number;
}

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Lets everything that is ready run: promise jobs and I/O callbacks alike. */
export async function settleTasks(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise<void>((resolve) => setImmediate(resolve));
}

export function createManualClock(start = new Date('2026-01-01T00:00:00Z')): ManualClock {
  const entries = new Set<Entry>();
  let elapsed = 0;
  let wallShift = 0;
  let order = 0;

  const nextDue = (until: number): Entry | undefined => {
    let first: Entry | undefined;
    for (const entry of entries) {
      if (entry.at > until) continue;
      if (!first || entry.at < first.at || (entry.at === first.at && entry.order < first.order))
        first = entry;
    }
    return first;
  };

  return {
    now: () => new Date(start.getTime() + elapsed + wallShift),
    monotonicMs: () => elapsed,
    setTimeout(callback, ms): ClockTimer {
      const entry = { at: elapsed + Math.max(0, ms), order: order++, callback };
      entries.add(entry);
      return { cancel: () => void entries.delete(entry) };
    },
    async advance(ms) {
      const until = elapsed + ms;
      await settleTasks();
      for (let entry = nextDue(until); entry; entry = nextDue(until)) {
        entries.delete(entry);
        elapsed = Math.max(elapsed, entry.at);
        entry.callback();
        await settleTasks();
      }
      elapsed = Math.max(elapsed, until);
    },
    shiftWall(ms) {
      wallShift += ms;
    },
    freeze(ms) {
      elapsed += ms;
    },
    get pending() {
      return entries.size;
    },
  };
}
