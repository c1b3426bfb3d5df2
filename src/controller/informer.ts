import type { Backoff } from '../lib/backoff.ts';
import { backoffMs } from '../lib/backoff.ts';
import { isGone } from './api-error.ts';
import type { ListPage } from './client.ts';
import { resourceClient } from './client.ts';
import type { Clock } from './clock.ts';
import { delay, systemClock } from './clock.ts';
import type { ChangeHandler } from './informer-state.ts';
import { InformerState, rawKeyOf, withoutManagedFields } from './informer-state.ts';
import { LineTooLongError } from './line-splitter.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Indexes, ObjectStore } from './object-cache.ts';
import type { KubeObject, ResourceType } from './resources.ts';
import { collectionPath, isOlder } from './resources.ts';
import type { Transport } from './transport.ts';
import type { WatchEvent } from './watch-stream.ts';
import { runWatch, WatchProtocolError } from './watch-stream.ts';

export interface InformerOptions<T extends KubeObject> {
  readonly transport: Transport;
  readonly type: ResourceType;
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Reads one raw object; undefined leaves it out, a throw isolates it. @default as it is, without managedFields */
  readonly transform?: (raw: unknown) => T | undefined;
  readonly indexes?: Indexes<T>;
  /** Between repairs by a full list, give or take a tenth. @default 10 min */
  readonly relistMs?: number;
  readonly pageSize?: number;
  readonly maxLineBytes?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly metrics?: Metrics | undefined;
  readonly random?: () => number;
}

/** A local copy of one kind that follows the API server. */
export interface Informer<T extends KubeObject> extends ObjectStore<T> {
  readonly type: ResourceType;
  /** Resolves after the first complete list; never rejects. */
  readonly synced: Promise<void>;
  hasSynced(): boolean;
  /** Register before `run`. */
  onChange(handler: ChangeHandler<T>): void;
  /** Lists and watches until `signal` aborts, then resolves; no failure ends it. */
  run(signal: AbortSignal): Promise<void>;
  /** Monotonic ms of the last page, event or bookmark. */
  lastContactMs(): number;
  /** Where the cache stands; undefined before the first list and after a 410. */
  readonly resourceVersion: string | undefined;
}

const RELIST_MS = 600_000;
const RETRY: Backoff = { baseMs: 500, maxMs: 30_000, jitter: 0.5 };
/** A watch that ends sooner counts as a failure, however cleanly it ended. */
const SHORT_WATCH_MS = 1_000;
/** A watch that broke after this long had been fine: the next try comes soon. */
const LONG_WATCH_MS = 30_000;
const YIELD_EVERY = 250;

/** Creates an informer; nothing happens before `run`. */
export function createInformer<T extends KubeObject>(options: InformerOptions<T>): Informer<T> {
  return new Reflector(options);
}

/** Resolves when all have synced; rejects with the signal's reason. */
export async function waitForSync(
  informers: readonly { readonly synced: Promise<void> }[],
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([Promise.all(informers.map(({ synced }) => synced)), promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 *   list -> watch -> watch -> ... -> audit -> watch -> ...
 *     ^       | 410, ERROR, garbage   |
 *     +-------+-----------------------+ 410
 *
 * The version advances only after an event is applied, so a broken watch resumes without a gap. The audit lists the
 * state at exactly the version the cache stands at: whatever differs is an event that was never delivered.
 */
class Reflector<T extends KubeObject> implements Informer<T> {
  readonly type: ResourceType;
  readonly synced: Promise<void>;
  readonly #options: InformerOptions<T>;
  readonly #state: InformerState<T>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #log: Log;
  #markSynced: () => void;
  #isSynced = false;
  #version: string | undefined;
  #lastContactMs = 0;
  #auditAtMs = Number.POSITIVE_INFINITY;
  #failures = 0;

  constructor(options: InformerOptions<T>) {
    const { type, clock = systemClock, random = Math.random, log = silentLog, metrics } = options;
    const { transform = (raw: unknown) => withoutManagedFields(raw) as T, indexes = {} } = options;
    this.type = type;
    this.#options = options;
    this.#clock = clock;
    this.#random = random;
    this.#log = log.child({ resource: type.plural });
    this.#state = new InformerState({ resource: type.plural, transform, indexes, log, metrics });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.synced = promise;
    this.#markSynced = resolve;
  }

  get size(): number {
    return this.#state.cache.size;
  }

  get resourceVersion(): string | undefined {
    return this.#version;
  }

  get(key: string): T | undefined {
    return this.#state.cache.get(key);
  }

  values(): IterableIterator<T> {
    return this.#state.cache.values();
  }

  byIndex(index: string, value: string): readonly T[] {
    return this.#state.cache.byIndex(index, value);
  }

  hasSynced(): boolean {
    return this.#isSynced;
  }

  lastContactMs(): number {
    return this.#lastContactMs;
  }

  onChange(handler: ChangeHandler<T>): void {
    this.#state.onChange(handler);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const startedMs = this.#clock.monotonicMs();
      const isHealthy = await this.#step(signal).catch((error: unknown) => this.#failed(error, signal));
      if (signal.aborted) return;
      const lastedMs = this.#clock.monotonicMs() - startedMs;
      if (lastedMs >= (isHealthy ? SHORT_WATCH_MS : LONG_WATCH_MS)) this.#failures = 0;
      if (isHealthy && lastedMs >= SHORT_WATCH_MS) continue;
      await delay(this.#clock, backoffMs(this.#failures++, RETRY, this.#random), signal).catch(
        () => undefined,
      );
    }
  }

  /** One list or audit if due, then one watch; true when the watch ended cleanly. */
  async #step(signal: AbortSignal): Promise<boolean> {
    if (this.#version === undefined) await this.#list(signal);
    else if (this.#clock.monotonicMs() >= this.#auditAtMs) await this.#audit(this.#version, signal);
    if (signal.aborted || this.#version === undefined) return false;
    await this.#watch(this.#version, signal);
    this.#options.metrics?.watchEnded(this.type.plural, 'closed');
    return true;
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { version } = await this.#replaceAll({}, signal);
    this.#version = version;
    this.#scheduleAudit();
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#markSynced();
    this.#log.info('Informer synced', { objects: this.size });
  }

  async #audit(version: string, signal: AbortSignal): Promise<void> {
    this.#version = undefined; // whatever ends the audit early, a full list follows
    const at: ListAt = { resourceVersion: version, resourceVersionMatch: 'Exact' };
    const { changes } = await this.#replaceAll(at, signal);
    this.#version = version;
    this.#scheduleAudit();
    if (changes === 0) return;
    this.#options.metrics?.relistMisses(this.type.plural, changes);
    this.#log.warn('Periodic list found changes that the watch never told', {
      changes,
      resourceVersion: version,
    });
  }

  #scheduleAudit(): void {
    const { relistMs = RELIST_MS } = this.#options;
    this.#auditAtMs = this.#clock.monotonicMs() + relistMs * (0.9 + 0.2 * this.#random());
  }

  /** Pages are applied as they come, so only one is in memory; what no page named is dropped at the end. */
  async #replaceAll(
    at: ListAt,
    signal: AbortSignal,
  ): Promise<{ readonly version: string; readonly changes: number }> {
    const { namespace, labelSelector, fieldSelector, pageSize, transport } = this.#options;
    const client = resourceClient<KubeObject>(transport, this.type);
    const keys = new Set<string>();
    let version = '';
    let changes = 0;
    for await (const page of client.pages({
      namespace,
      labelSelector,
      fieldSelector,
      limit: pageSize,
      signal,
      ...at,
    })) {
      this.#touch();
      changes += await this.#applyPage(page, keys, signal);
      version = page.resourceVersion;
    }
    if (version === '') throw new WatchProtocolError(`list of ${this.type.plural} has no resourceVersion`);
    return { version, changes: changes + this.#state.retain(keys) };
  }

  async #applyPage({ items }: ListPage<unknown>, keys: Set<string>, signal: AbortSignal): Promise<number> {
    let changes = 0;
    for (const [index, raw] of items.entries()) {
      const key = rawKeyOf(raw);
      if (key !== undefined) keys.add(key);
      if (this.#state.upsert(raw, 'list')) changes++;
      if (index % YIELD_EVERY === YIELD_EVERY - 1)
        await new Promise<void>((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    return changes;
  }

  async #watch(from: string, signal: AbortSignal): Promise<void> {
    const { transport, namespace, labelSelector, fieldSelector, maxLineBytes } = this.#options;
    const run = new AbortController();
    const stop = (): void => run.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const audit = this.#clock.setTimeout(
      () => run.abort(AUDIT_DUE),
      this.#auditAtMs - this.#clock.monotonicMs(),
    );
    const timeoutSeconds = 290 + Math.floor(300 * this.#random());
    const query = { resourceVersion: from, labelSelector, fieldSelector, timeoutSeconds };
    const bound = maxLineBytes === undefined ? {} : { maxLineBytes };
    try {
      const path = collectionPath(this.type, namespace);
      await runWatch(transport, { path, query, signal: run.signal, ...bound }, (event) => this.#apply(event));
    } catch (error) {
      if (run.signal.reason !== AUDIT_DUE) throw error;
    } finally {
      audit.cancel();
      signal.removeEventListener('abort', stop);
    }
  }

  #apply(event: WatchEvent): void {
    this.#touch();
    const version = versionOf(event);
    // A watch tells everything in the order of versions. What comes from the past is a replay: it must neither bring
    // back an object that is deleted since, nor take the next watch back to where it came from.
    if (version !== undefined && this.#version !== undefined && isOlder(version, this.#version)) return;
    if (event.type === 'DELETED') this.#state.remove(event.object);
    else if (event.type !== 'BOOKMARK') this.#state.upsert(event.object, 'watch');
    if (version !== undefined) this.#version = version;
  }

  #touch(): void {
    this.#lastContactMs = this.#clock.monotonicMs();
  }

  /** Decides between resuming (the version stays) and listing again (it is dropped). */
  #failed(error: unknown, signal: AbortSignal): false {
    if (signal.aborted) return false;
    const why = isGone(error) ? 'gone' : isGarbage(error) ? 'garbage' : 'error';
    if (why !== 'error') this.#version = undefined;
    this.#options.metrics?.watchEnded(this.type.plural, why);
    const fields = { error, failures: this.#failures };
    if (why === 'gone') this.#log.info('Watch is too old, listing again');
    else this.#log.warn('List or watch failed, trying again', fields);
    return false;
  }
}

function versionOf(event: WatchEvent): string | undefined {
  if (event.type === 'BOOKMARK') return event.resourceVersion;
  const { metadata } = (event.object ?? {}) as { metadata?: { resourceVersion?: unknown } };
  return typeof metadata?.resourceVersion === 'string' ? metadata.resourceVersion : undefined;
}

const AUDIT_DUE = new Error('the periodic list is due');

interface ListAt {
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'Exact';
}

/** An event may be lost: only a list tells the truth again. */
const isGarbage = (error: unknown): boolean =>
  error instanceof WatchProtocolError || error instanceof LineTooLongError;
