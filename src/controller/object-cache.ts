import type { KubeObject } from './resources.ts';
import { keyOf } from './resources.ts';

/** Values under which an object is found; computed once per change. */
export type IndexFunction<T> = (object: T) => readonly string[];
export type Indexes<T> = Readonly<Record<string, IndexFunction<T>>>;

/** Read access to cached objects. They are shared: never change them. */
export interface ObjectStore<T extends KubeObject> {
  /** By `namespace/name`. */
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  /** Objects whose index function returned `value`; throws for an index that was never declared. */
  byIndex(index: string, value: string): readonly T[];
  readonly size: number;
}

/** Objects by key, with secondary indexes kept in step. */
export class ObjectCache<T extends KubeObject> implements ObjectStore<T> {
  readonly #objects = new Map<string, T>();
  readonly #functions: Indexes<T>;
  /** index name -> value -> keys */
  readonly #indexes = new Map<string, Map<string, Set<string>>>();

  constructor(indexes: Indexes<T> = {}) {
    this.#functions = indexes;
    for (const name of Object.keys(indexes)) this.#indexes.set(name, new Map());
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  byIndex(index: string, value: string): readonly T[] {
    const values = this.#indexes.get(index);
    if (!values)
      throw new Error(
        `Unknown index "${index}": declared are ${[...this.#indexes.keys()].join(', ') || 'none'}`,
      );
    const found: T[] = [];
    for (const key of values.get(value) ?? []) {
      const object = this.#objects.get(key);
      if (object) found.push(object);
    }
    return found;
  }

  set(object: T): void {
    const key = keyOf(object);
    const previous = this.#objects.get(key);
    // Evaluated before anything changes: an index function that throws must not leave half an update.
    const entries = this.#entriesOf(object);
    if (previous) this.#unindex(key, previous);
    this.#objects.set(key, object);
    for (const [index, values] of entries) for (const value of values) this.#index(index, value, key);
  }

  delete(key: string): void {
    const previous = this.#objects.get(key);
    if (!previous) return;
    this.#unindex(key, previous);
    this.#objects.delete(key);
  }

  #entriesOf(object: T): [string, readonly string[]][] {
    return Object.entries(this.#functions).map(([name, valuesOf]) => [name, valuesOf(object)]);
  }

  #index(index: string, value: string, key: string): void {
    const values = this.#indexes.get(index);
    const keys = values?.get(value);
    if (keys) keys.add(key);
    else values?.set(value, new Set([key]));
  }

  #unindex(key: string, previous: T): void {
    for (const [index, values] of this.#entriesOf(previous)) {
      for (const value of values) this.#removeEntry(index, value, key);
    }
  }

  #removeEntry(index: string, value: string, key: string): void {
    const keys = this.#indexes.get(index)?.get(value);
    if (keys?.delete(key) && keys.size === 0) this.#indexes.get(index)?.delete(value);
  }
}
