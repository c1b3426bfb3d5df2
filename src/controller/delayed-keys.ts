import type { Clock, ClockTimer } from './clock.ts';

interface Due {
  readonly atMs: number;
  readonly key: string;
}

/** Keys that become due later: one binary heap, one timer, and of two times for a key the earlier one. */
export class DelayedKeys {
  readonly #clock: Clock;
  readonly #onDue: (key: string) => void;
  readonly #heap: Due[] = [];
  /** The valid time per key; heap entries that differ are leftovers of a later time. */
  readonly #times = new Map<string, number>();
  #timer: ClockTimer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, onDue: (key: string) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#times.size;
  }

  add(key: string, ms: number): void {
    const atMs = this.#clock.monotonicMs() + ms;
    const known = this.#times.get(key);
    if (known !== undefined && known <= atMs) return;
    this.#times.set(key, atMs);
    this.#push({ atMs, key });
    this.#arm();
  }

  clear(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    this.#heap.length = 0;
    this.#times.clear();
  }

  #arm(): void {
    const first = this.#heap[0];
    if (!first || first.atMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = first.atMs;
    this.#timer = this.#clock.setTimeout(() => this.#fire(), first.atMs - this.#clock.monotonicMs());
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.monotonicMs();
    for (let first = this.#heap[0]; first && first.atMs <= now; first = this.#heap[0]) {
      this.#pop();
      if (this.#times.get(first.key) !== first.atMs) continue;
      this.#times.delete(first.key);
      this.#onDue(first.key);
    }
    this.#arm();
  }

  #push(entry: Due): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (!above || above.atMs <= entry.atMs) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const child = this.#smallerChild(index);
      const below = heap[child];
      if (!below || below.atMs >= last.atMs) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }

  #smallerChild(index: number): number {
    const left = 2 * index + 1;
    const [a, b] = [this.#heap[left], this.#heap[left + 1]];
    return a && b && b.atMs < a.atMs ? left + 1 : left;
  }
}
