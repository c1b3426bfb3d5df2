/** One step into an object: a key, or the position of a list element. */
export type Step = string | number;

/** A deep copy of `object` in which the value at `path` is `value`; undefined removes it. */
export function withValue<T>(object: T, path: readonly Step[], value: unknown): T {
  const copy = structuredClone(object);
  const last = path.at(-1);
  if (last === undefined) throw new Error('withValue() needs a path');
  const parent: unknown = path.slice(0, -1).reduce<unknown>(child, copy);
  if (Array.isArray(parent) && typeof last === 'number') parent[last] = value;
  else if (isRecord(parent) && value === undefined) delete parent[last];
  else if (isRecord(parent)) parent[last] = value;
  else throw new Error(`there is nothing at ${path.join('.')}`);
  return copy;
}

function child(parent: unknown, step: Step): unknown {
  if (Array.isArray(parent) && typeof step === 'number') return parent[step];
  if (isRecord(parent)) return parent[step];
  throw new Error(`cannot step into ${String(step)}: the sample lacks it`);
}

/** True for anything with keys, so also for a parsed YAML mapping. */
export function isRecord(value: unknown): value is Record<Step, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
