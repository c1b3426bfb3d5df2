import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Indexes } from './object-cache.ts';
import { ObjectCache } from './object-cache.ts';
import type { KubeObject, ObjectRef } from './resources.ts';
import { isOlder, keyOf } from './resources.ts';

export type ChangeType = 'added' | 'modified' | 'deleted';

/** `list` for the first list and for repairs, `watch` for what just happened. */
export type ChangeSource = 'list' | 'watch';

/**
 * Told of each change of the cache, after it. Do nothing but enqueue keys: it runs inside the stream.
 * For `deleted`, `object` is the last known state; for `modified`, `previous` is what the cache held.
 */
export type ChangeHandler<T> = (
  type: ChangeType,
  object: T,
  previous: T | undefined,
  source: ChangeSource,
) => void;

export interface StateOptions<T extends KubeObject> {
  readonly resource: string;
  readonly transform: (raw: unknown) => T | undefined;
  readonly indexes: Indexes<T>;
  readonly log: Log;
  readonly metrics: Metrics | undefined;
}

const POISON_MEMORY = 1000;

interface Identity extends ObjectRef {
  readonly uid: string;
  readonly resourceVersion: string;
}

/**
 * Turns raw objects into cache changes.
 *
 * Invariants: a name that changes its uid is a deletion and an addition; an event older than the cached copy changes
 * nothing; an object that cannot be read is left at its last good state and never stops the others.
 */
export class InformerState<T extends KubeObject> {
  readonly cache: ObjectCache<T>;
  readonly #options: StateOptions<T>;
  readonly #handlers: ChangeHandler<T>[] = [];
  /** key -> resourceVersion of unreadable objects already logged. */
  readonly #poison = new Map<string, string>();

  constructor(options: StateOptions<T>) {
    this.#options = options;
    this.cache = new ObjectCache(options.indexes);
  }

  onChange(handler: ChangeHandler<T>): void {
    this.#handlers.push(handler);
  }

  /** Applies an object that exists; a list is the truth whatever its version. Returns whether the cache changed. */
  upsert(raw: unknown, source: ChangeSource): boolean {
    const identity = identityOf(raw);
    if (!identity) return this.#unidentified(raw);
    const key = keyOf({ metadata: identity });
    const previous = this.cache.get(key);
    const isSame = previous?.metadata.uid === identity.uid;
    if (isSame && previous.metadata.resourceVersion === identity.resourceVersion) return false;
    if (
      source === 'watch' &&
      previous &&
      isOlder(identity.resourceVersion, previous.metadata.resourceVersion)
    )
      return false;
    const read = this.#read(key, identity, raw);
    return read.ok ? this.#replace(key, read.object, source) : false;
  }

  /** Applies a DELETED event. */
  remove(raw: unknown): void {
    const identity = identityOf(raw);
    if (!identity) {
      this.#unidentified(raw);
      return;
    }
    const key = keyOf({ metadata: identity });
    const previous = this.cache.get(key);
    if (!previous) return;
    const isOther = previous.metadata.uid !== identity.uid;
    if (isOther && isOlder(identity.resourceVersion, previous.metadata.resourceVersion)) return;
    const read = this.#read(key, identity, raw);
    this.#drop(key, read.ok && read.object && !isOther ? read.object : previous, 'watch');
  }

  /** Drops everything a complete list did not name; returns how many that were. */
  retain(keys: ReadonlySet<string>): number {
    let dropped = 0;
    for (const key of this.cache.keys()) {
      const object = keys.has(key) ? undefined : this.cache.get(key);
      if (!object) continue;
      this.#drop(key, object, 'list');
      dropped++;
    }
    return dropped;
  }

  #replace(key: string, object: T | undefined, source: ChangeSource): boolean {
    const previous = this.cache.get(key);
    if (!object) {
      if (previous) this.#drop(key, previous, source);
      return previous !== undefined;
    }
    const isRecreated = previous !== undefined && previous.metadata.uid !== object.metadata.uid;
    if (isRecreated) this.#drop(key, previous, source);
    if (!this.#store(key, object)) return isRecreated;
    if (previous && !isRecreated) this.#tell('modified', object, previous, source);
    else this.#tell('added', object, undefined, source);
    return true;
  }

  #store(key: string, object: T): boolean {
    try {
      this.cache.set(object);
      return true;
    } catch (error) {
      this.#poisoned(key, object.metadata.resourceVersion, error);
      return false;
    }
  }

  #drop(key: string, last: T, source: ChangeSource): void {
    this.cache.delete(key);
    this.#poison.delete(key);
    this.#tell('deleted', last, undefined, source);
  }

  /** A throwing handler is a bug in the program, not in the stream: it is reported and the stream goes on. */
  #tell(type: ChangeType, object: T, previous: T | undefined, source: ChangeSource): void {
    for (const handler of this.#handlers) {
      try {
        handler(type, object, previous, source);
      } catch (error) {
        this.#options.log.error('Change handler failed', {
          resource: this.#options.resource,
          key: keyOf(object),
          error,
        });
      }
    }
  }

  #read(
    key: string,
    { resourceVersion }: Identity,
    raw: unknown,
  ): { ok: true; object: T | undefined } | { ok: false } {
    try {
      return { ok: true, object: this.#options.transform(raw) };
    } catch (error) {
      this.#poisoned(key, resourceVersion, error);
      return { ok: false };
    }
  }

  #poisoned(key: string, resourceVersion: string, error: unknown): void {
    const { resource, log, metrics } = this.#options;
    metrics?.poisonObject(resource);
    if (this.#poison.get(key) === resourceVersion) return;
    if (this.#poison.size >= POISON_MEMORY) this.#poison.clear();
    this.#poison.set(key, resourceVersion);
    log.warn('Object cannot be read, leaving it out', { resource, key, resourceVersion, error });
  }

  #unidentified(raw: unknown): boolean {
    const { resource, log, metrics } = this.#options;
    metrics?.poisonObject(resource);
    log.warn('Object without name, uid or resourceVersion, leaving it out', { resource, type: typeof raw });
    return false;
  }
}

/** The key of a raw object, if it has one. */
export function rawKeyOf(raw: unknown): string | undefined {
  const identity = identityOf(raw);
  return identity && keyOf({ metadata: identity });
}

/** `undefined` rather than delete: a deleted property turns the object into a slow, larger dictionary. */
export function withoutManagedFields(raw: unknown): unknown {
  const { metadata } = raw as { metadata: { managedFields?: unknown } };
  if (metadata.managedFields !== undefined) metadata.managedFields = undefined;
  return raw;
}

function identityOf(raw: unknown): Identity | undefined {
  const metadata = (raw as { metadata?: Partial<Identity> } | null | undefined)?.metadata;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  const { name, uid, resourceVersion } = metadata;
  const isComplete =
    typeof name === 'string' && typeof uid === 'string' && typeof resourceVersion === 'string';
  return isComplete ? (metadata as Identity) : undefined;
}
