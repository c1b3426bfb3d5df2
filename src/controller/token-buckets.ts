import type { Clock } from './clock.ts';

export interface TokenBucketOptions {
  readonly burst: number;
  /** One token comes back after this time. */
  readonly refillMs: number;
  /** Buckets kept; the one unused for longest goes first. */
  readonly limit: number;
  readonly clock: Clock;
}

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

/** One token bucket per key in bounded memory. */
export class TokenBuckets {
  readonly #options: TokenBucketOptions;
  /** In order of last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: TokenBucketOptions) {
    this.#options = options;
  }

  /** Takes a token of that key; false when there is none. */
  take(key: string): boolean {
    const { burst, refillMs, limit, clock } = this.#options;
    const now = clock.monotonicMs();
    const { tokens, atMs } = this.#buckets.get(key) ?? { tokens: burst, atMs: now };
    const available = Math.min(burst, tokens + (now - atMs) / refillMs);
    const isGranted = available >= 1;
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens: isGranted ? available - 1 : available, atMs: now });
    if (this.#buckets.size > limit) this.#forgetOldest();
    return isGranted;
  }

  #forgetOldest(): void {
    for (const key of this.#buckets.keys()) {
      this.#buckets.delete(key);
      return;
    }
  }
}
