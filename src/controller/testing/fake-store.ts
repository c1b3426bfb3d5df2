import { randomUUID } from 'node:crypto';
import type { ObjectMeta } from '../resources.ts';

/** An object as the fake keeps it: metadata is always complete. */
export interface StoredObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface StoredEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly collection: string;
  readonly object: StoredObject;
}

/** A failure with the Status that the API server would send. */
export class FakeStatusError extends Error {
  override readonly name = 'FakeStatusError';
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message = reason) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

type Listener = (event: StoredEvent) => void;

/** Objects with one resourceVersion counter and their whole history, as etcd keeps it until compaction. */
export class FakeStore {
  #version = 100;
  #compacted = 0;
  readonly #events: StoredEvent[] = [];
  readonly #objects = new Map<string, Map<string, StoredObject>>();
  readonly #listeners = new Set<Listener>();

  get version(): number {
    return this.#version;
  }

  /** Forgets the history: older versions answer 410 from now on. */
  compact(): void {
    this.#compacted = this.#version;
  }

  /** Lets the counter run on, as writes to other kinds do. */
  tick(by = 1): number {
    this.#version += by;
    return this.#version;
  }

  onEvent(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get(collection: string, key: string): StoredObject | undefined {
    return this.#objects.get(collection)?.get(key);
  }

  list(collection: string): StoredObject[] {
    return [...(this.#objects.get(collection)?.values() ?? [])];
  }

  /** The state as it was at exactly that version. */
  listAt(collection: string, version: number): StoredObject[] {
    this.#refuseCompacted(version);
    const objects = new Map<string, StoredObject>();
    for (const event of this.#events) {
      if (event.collection !== collection || event.version > version) continue;
      const key = storeKey(event.object.metadata);
      if (event.type === 'DELETED') objects.delete(key);
      else objects.set(key, event.object);
    }
    return [...objects.values()];
  }

  since(collection: string, version: number): StoredEvent[] {
    this.#refuseCompacted(version);
    return this.#events.filter((event) => event.collection === collection && event.version > version);
  }

  create(collection: string, namespace: string | undefined, body: StoredObject): StoredObject {
    const key = storeKey({ ...body.metadata, namespace });
    if (this.get(collection, key))
      throw new FakeStatusError(409, 'AlreadyExists', `${collection} "${key}" already exists`);
    const metadata = {
      ...body.metadata,
      ...(namespace ? { namespace } : {}),
      uid: randomUUID(),
      generation: 1,
    };
    return this.#put('ADDED', collection, { ...body, metadata });
  }

  /** Replaces what `change` returns, guarded by the uid and resourceVersion in `expected`. */
  update(
    collection: string,
    key: string,
    expected: Partial<ObjectMeta>,
    change: (current: StoredObject) => StoredObject,
  ): StoredObject {
    const current = this.#current(collection, key, expected);
    const next = change(current);
    const { uid, creationTimestamp, deletionTimestamp } = current.metadata;
    const metadata = { ...next.metadata, uid, creationTimestamp, deletionTimestamp };
    const isGoing = deletionTimestamp !== undefined && (metadata.finalizers ?? []).length === 0;
    if (isGoing) return this.#drop(collection, { ...next, metadata });
    return this.#put('MODIFIED', collection, { ...next, metadata });
  }

  remove(collection: string, key: string, expected: Partial<ObjectMeta>): StoredObject {
    const current = this.#current(collection, key, expected);
    if ((current.metadata.finalizers ?? []).length === 0) return this.#drop(collection, current);
    const deletionTimestamp = '2026-01-01T00:00:00Z';
    return this.#put('MODIFIED', collection, {
      ...current,
      metadata: { ...current.metadata, deletionTimestamp },
    });
  }

  #current(collection: string, key: string, { uid, resourceVersion }: Partial<ObjectMeta>): StoredObject {
    const current = this.get(collection, key);
    if (!current) throw new FakeStatusError(404, 'NotFound', `${collection} "${key}" not found`);
    const isOther = uid !== undefined && uid !== current.metadata.uid;
    const isStale = resourceVersion !== undefined && resourceVersion !== current.metadata.resourceVersion;
    if (isOther || isStale)
      throw new FakeStatusError(409, 'Conflict', `the object "${key}" has been modified`);
    return current;
  }

  #put(type: 'ADDED' | 'MODIFIED', collection: string, object: StoredObject): StoredObject {
    const version = this.tick();
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    const objects = this.#objects.get(collection) ?? new Map<string, StoredObject>();
    this.#objects.set(collection, objects.set(storeKey(stored.metadata), stored));
    this.#tell({ type, version, collection, object: stored });
    return stored;
  }

  #drop(collection: string, object: StoredObject): StoredObject {
    const version = this.tick();
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.#objects.get(collection)?.delete(storeKey(last.metadata));
    this.#tell({ type: 'DELETED', version, collection, object: last });
    return last;
  }

  #tell(event: StoredEvent): void {
    this.#events.push(event);
    for (const listener of this.#listeners) listener(event);
  }

  #refuseCompacted(version: number): void {
    if (version < this.#compacted)
      throw new FakeStatusError(410, 'Expired', `too old resource version: ${version}`);
  }
}

/** `namespace/name` or `name`. */
export function storeKey({
  namespace,
  name,
}: {
  readonly namespace?: string | undefined;
  readonly name: string;
}): string {
  return namespace ? `${namespace}/${name}` : name;
}
