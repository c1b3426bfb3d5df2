import type { Result } from '../../test/faults/rig/row.ts';

/** Ids of mutants begin with this, so that results of all kinds share one file. */
export const MUTANT = 'M/';
/** Ids of plans: one of a row's many repetitions of the reference workload. */
export const PLAN = /^(A1|E3)\/.+@/;

export interface Summary {
  /** The newest result of each id, in the order of the ids. */
  readonly results: readonly Result[];
  /** Rows of the matrix that were shown; the cases of one row count once. */
  readonly rows: number;
  readonly plans: number;
  readonly mutants: number;
  readonly killed: number;
  readonly failed: readonly Result[];
}

export function summaryOf(all: readonly Result[], only?: readonly string[]): Summary {
  const newest = new Map(
    all.filter(({ id }) => !only || only.includes(id)).map((entry) => [entry.id, entry]),
  );
  const results = [...newest.values()].toSorted((a, b) => a.id.localeCompare(b.id, 'en', { numeric: true }));
  const ids = results.map(({ id }) => id);
  const mutants = results.filter(({ id }) => id.startsWith(MUTANT));
  const rows = ids.filter((id) => !id.startsWith(MUTANT)).map(rowOf);
  return {
    results,
    rows: new Set(rows).size,
    plans: ids.filter((id) => PLAN.test(id)).length,
    mutants: mutants.length,
    killed: mutants.filter(({ ok }) => ok).length,
    failed: results.filter(({ ok }) => !ok),
  };
}

/** D4/500 is a case of row D4. */
export const rowOf = (id: string): string => id.split('/')[0] ?? id;
