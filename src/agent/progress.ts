/** Counts of a running task. Pure: times are seconds since observe started, and passed in. */
import type { Effort } from '../api/effort.ts';
import type { ProgressReport } from '../api/request.ts';
import { roundEffort } from './effort.ts';
import type { Unit } from './plan.ts';

/** What counts of a unit. */
type Share = Pick<Unit, 'state' | 'effort'>;

/** Follows units to their end. The percentage goes by effort and never decreases. */
export class Progress {
  #total = 0;
  #good = 0;
  #failed = 0;
  #effort = 0;
  #endedEffort = 0;
  /** What was done before this pod's model started: it says nothing about its speed. */
  #givenEffort = 0;
  /** The share of the work that the model itself says is done. */
  #told = 0;
  #lastEndSeconds = 0;
  readonly #kind: Effort;

  constructor(kind: Effort) {
    this.#kind = kind;
  }

  /** Takes a unit of the plan into account; all of them before the first report. */
  expect(unit: Share): void {
    this.#total++;
    this.#effort += unit.effort;
    if (unit.state === 'run') return;
    this.end(unit, unit.state === 'reused', 0);
    this.#givenEffort += unit.effort;
  }

  /** Records the end of a unit, once for each. */
  end({ effort }: Share, good: boolean, atSeconds: number): void {
    this.#endedEffort += effort;
    this.#lastEndSeconds = atSeconds;
    if (good) this.#good++;
    else this.#failed++;
  }

  /** Takes the model's word for the share of the work that is done, from 0 to 1. */
  tell(share: number, atSeconds: number): void {
    if (share <= this.#told) return;
    this.#told = share;
    this.#lastEndSeconds = atSeconds;
  }

  report(ids: { readonly taskUID: string; readonly podUID: string }, atSeconds: number): ProgressReport {
    const done = Math.max(this.#endedEffort, this.#told * this.#effort);
    return {
      ...ids,
      unitsDone: this.#good,
      unitsTotal: this.#total,
      unitsFailed: this.#failed,
      percent: this.#percent(),
      work: {
        effort: this.#kind,
        done: roundEffort(Math.max(0, done - this.#givenEffort)),
        left: roundEffort(Math.max(0, this.#effort - done)),
        sinceSeconds: Math.max(0, Math.round(atSeconds - this.#lastEndSeconds)),
      },
    };
  }

  #percent(): number {
    const ended = this.#good + this.#failed;
    const share = this.#effort > 0 ? this.#endedEffort / this.#effort : ended / Math.max(1, this.#total);
    // Sums of seconds are not exact: all is done when every unit has ended.
    return ended === this.#total ? 100 : Math.min(99, Math.floor(Math.max(share, this.#told) * 100));
  }
}
