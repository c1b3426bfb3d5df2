import { isDeepStrictEqual } from 'node:util';

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: ConditionStatus;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number | undefined;
}

/**
 * Sets one condition. Returns `list` itself when nothing changed, so "nothing to write" is `===`.
 * `lastTransitionTime` moves only when `status` flips; an absent `observedGeneration` keeps the previous one.
 */
export function withCondition<C extends Condition>(
  list: readonly C[],
  next: Omit<C, 'lastTransitionTime'>,
  now: Date,
): readonly C[] {
  const previous = list.find((condition) => condition.type === next.type);
  const merged = mergeCondition(previous, next, now);
  if (isDeepStrictEqual(previous, merged)) return list;
  return [...list.filter((condition) => condition !== previous), merged].toSorted((a, b) =>
    a.type < b.type ? -1 : 1,
  );
}

function mergeCondition<C extends Condition>(
  previous: C | undefined,
  next: Omit<C, 'lastTransitionTime'>,
  now: Date,
): C {
  const since = previous?.status === next.status ? previous.lastTransitionTime : secondsOf(now);
  const generation = next.observedGeneration ?? previous?.observedGeneration;
  const kept = generation === undefined ? {} : { observedGeneration: generation };
  return { ...next, ...kept, lastTransitionTime: since } as unknown as C;
}

/** The condition of that type, if any. */
function conditionOf<C extends Condition>(list: readonly C[] | undefined, type: string): C | undefined {
  return list?.find((condition) => condition.type === type);
}

/** True when the condition of that type exists with status True. */
export function isConditionTrue(list: readonly Condition[] | undefined, type: string): boolean {
  return conditionOf(list, type)?.status === 'True';
}

/** metav1.Time: RFC 3339 with whole seconds, as the API server itself writes it. */
export function secondsOf(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** metav1.MicroTime: exactly six fraction digits; the API server answers 400 to three. */
export function microTimeOf(time: Date): string {
  return time.toISOString().replace(/\.(\d{3})Z$/, '.$1000Z');
}
