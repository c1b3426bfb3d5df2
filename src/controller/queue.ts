import type { Backoff } from '../lib/backoff.ts';
import { backoffMs } from '../lib/backoff.ts';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';
import { DelayedKeys } from './delayed-keys.ts';
import { Fifo } from './fifo.ts';
import type { QueueMetrics } from './metrics.ts';

/** `low` is for initial lists and resyncs: it must not hold up what just changed. */
export type Priority = 'normal' | 'low';

export interface QueueOptions {
  readonly clock?: Clock;
  readonly metrics?: QueueMetrics;
  /** Of failed keys. @default 200 ms doubling to 5 min */
  readonly backoff?: Backoff;
  readonly random?: () => number;
}

interface Waiting {
  lane: Priority;
  readonly sinceMs: number;
}

const BACKOFF: Backoff = { baseMs: 200, maxMs: 300_000 };
/** After so many normal keys in a row a low one gets its turn, so it cannot starve. */
const NORMAL_RUN = 16;

/**
 * Keyed work queue.
 *
 * Guarantees: a key waits at most once; the same key is never with two workers; a key added while it is in work is
 * handed out once more after {@link KeyedQueue.done}; of several delayed adds of a key the earliest wins.
 *
 *   add -> waiting -> take -> in work -> done
 *             ^                  | added meanwhile
 *             +------------------+
 */
export class KeyedQueue {
  readonly #clock: Clock;
  readonly #metrics: QueueMetrics | undefined;
  readonly #backoff: Backoff;
  readonly #random: () => number;
  /** Keys to be worked on, whether in a lane or held back because they are in work. */
  readonly #dirty = new Map<string, Waiting>();
  /** Keys in work and since when. */
  readonly #inWork = new Map<string, number>();
  readonly #lanes = { normal: new Fifo<string>(), low: new Fifo<string>() };
  readonly #takers = new Fifo<(key: string | undefined) => void>();
  readonly #failures = new Map<string, number>();
  readonly #delayed: DelayedKeys;
  #waiting = 0;
  #normalRun = 0;
  #closed = false;
  #onIdle: (() => void)[] = [];

  constructor({ clock = systemClock, metrics, backoff = BACKOFF, random = Math.random }: QueueOptions = {}) {
    this.#clock = clock;
    this.#metrics = metrics;
    this.#backoff = backoff;
    this.#random = random;
    this.#delayed = new DelayedKeys(clock, (key) => this.add(key));
    metrics?.watch(() => this.#heldSeconds());
  }

  /** Keys waiting for a worker; those in work and delayed ones do not count. */
  get depth(): number {
    return this.#waiting;
  }

  get inWork(): number {
    return this.#inWork.size;
  }

  get isShutdown(): boolean {
    return this.#closed;
  }

  /** Marks the key as to be worked on; a normal add lifts a waiting low one. */
  add(key: string, priority: Priority = 'normal'): void {
    if (this.#closed) return;
    const waiting = this.#dirty.get(key);
    if (waiting) {
      this.#lift(key, waiting, priority);
      return;
    }
    this.#metrics?.added();
    const fresh: Waiting = { lane: priority, sinceMs: this.#clock.monotonicMs() };
    this.#dirty.set(key, fresh);
    if (!this.#inWork.has(key)) this.#enqueue(key, fresh);
  }

  /** Adds the key once `ms` have passed; an earlier pending time stays. */
  addAfter(key: string, ms: number): void {
    if (this.#closed) return;
    if (ms > 0) this.#delayed.add(key, ms);
    else this.add(key);
  }

  /** Adds the key after its own backoff, which doubles until {@link KeyedQueue.forget}; returns the delay in ms. */
  addRateLimited(key: string): number {
    if (this.#closed) return 0;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#metrics?.retried();
    const ms = backoffMs(failures, this.#backoff, this.#random);
    this.addAfter(key, ms);
    return ms;
  }

  /** The key succeeded: its next failure starts at the shortest backoff. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Failures in a row so far. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key, or undefined after shutdown. The taker must call {@link KeyedQueue.done} with it. */
  take(): Promise<string | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    const key = this.#next();
    if (key !== undefined) return Promise.resolve(key);
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  /** Ends the work on a key; if it was added meanwhile it waits again. */
  done(key: string): void {
    const since = this.#inWork.get(key);
    if (since === undefined) throw new Error(`done() without take(): key "${key}" is not in work`);
    this.#metrics?.worked((this.#clock.monotonicMs() - since) / 1000);
    this.#inWork.delete(key);
    const again = this.#dirty.get(key);
    if (again && !this.#closed) this.#enqueue(key, again);
    if (this.#inWork.size === 0) this.#idle();
  }

  /** Hands out nothing more, takes nothing more; resolves when no key is in work. Waiting keys are dropped. */
  shutdown(): Promise<void> {
    this.#closed = true;
    this.#delayed.clear();
    for (let taker = this.#takers.shift(); taker; taker = this.#takers.shift()) taker(undefined);
    if (this.#inWork.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #enqueue(key: string, waiting: Waiting): void {
    this.#waiting++;
    this.#lanes[waiting.lane].push(key);
    const taker = this.#takers.shift();
    if (taker) taker(this.#next());
    else this.#metrics?.depth(this.#waiting);
  }

  #lift(key: string, waiting: Waiting, priority: Priority): void {
    if (priority === 'low' || waiting.lane === 'normal') return;
    waiting.lane = 'normal'; // its entry in the low lane goes stale and is skipped
    if (!this.#inWork.has(key)) this.#lanes.normal.push(key);
  }

  #next(): string | undefined {
    const lane = this.#nextLane();
    for (let key = this.#lanes[lane].shift(); key !== undefined; key = this.#lanes[lane].shift()) {
      const waiting = this.#dirty.get(key);
      if (waiting?.lane === lane && !this.#inWork.has(key)) return this.#handOut(key, waiting);
    }
    return this.#waiting > 0 ? this.#next() : undefined;
  }

  #nextLane(): Priority {
    const { normal, low } = this.#lanes;
    if (normal.size > 0 && (low.size === 0 || this.#normalRun < NORMAL_RUN)) {
      this.#normalRun++;
      return 'normal';
    }
    this.#normalRun = 0;
    return low.size > 0 ? 'low' : 'normal';
  }

  #handOut(key: string, waiting: Waiting): string {
    const now = this.#clock.monotonicMs();
    this.#waiting--;
    this.#dirty.delete(key);
    this.#inWork.set(key, now);
    this.#metrics?.depth(this.#waiting);
    this.#metrics?.waited((now - waiting.sinceMs) / 1000);
    return key;
  }

  #idle(): void {
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  *#heldSeconds(): Iterable<number> {
    const now = this.#clock.monotonicMs();
    for (const since of this.#inWork.values()) yield (now - since) / 1000;
  }
}
