import type { Effort } from '../../api/effort.ts';

/** What one finished attempt took. */
export interface Measured {
  readonly model: { readonly name: string; readonly uid: string };
  readonly node: string | undefined;
  readonly effort: Effort;
  readonly amount: number;
  readonly seconds: number;
}

/**
 * What finished attempts took, until it is written into the status of their model. Memory only: what a crash takes along
 * is missing from an average, and nothing is ever counted twice.
 */
export interface RateBook {
  note(measured: Measured): void;
  /** Called with the name of the model after each note. */
  onNote(wake: (model: string) => void): void;
  waits(model: string): boolean;
  /** All that waits for a model; it is then the caller's to write. */
  take(model: string): readonly Measured[];
  /** Undoes a `take` whose write was refused. */
  giveBack(model: string, measured: readonly Measured[]): void;
}

/** An average of more than these would not differ. */
const MAX_PER_MODEL = 64;
/** More than any catalogue has. */
const MAX_MODELS = 1000;

export function createRateBook(): RateBook {
  const waiting = new Map<string, readonly Measured[]>();
  let wake: ((model: string) => void) | undefined;
  const put = (model: string, measured: readonly Measured[]): void => {
    if (measured.length === 0 || (!waiting.has(model) && waiting.size >= MAX_MODELS)) return;
    waiting.set(model, measured.slice(-MAX_PER_MODEL));
  };
  return {
    note(measured) {
      const { name } = measured.model;
      put(name, [...(waiting.get(name) ?? []), measured]);
      wake?.(name);
    },
    onNote: (listener) => void (wake = listener),
    waits: (model) => waiting.has(model),
    take(model) {
      const measured = waiting.get(model) ?? [];
      waiting.delete(model);
      return measured;
    },
    giveBack: (model, measured) => put(model, [...measured, ...(waiting.get(model) ?? [])]),
  };
}
