/** Counts of a running task; pure but for the clock that is passed in. */
import type { ProgressReport } from '../api/request.ts';
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

  /** Takes a unit of the plan into account; all of them before the first report. */
  expect(unit: Share): void {
    this.#total++;
    this.#effort += unit.effort;
    if (unit.state === 'run') return;
    this.end(unit, unit.state === 'reused');
    this.#givenEffort += unit.effort;
  }

  /** Records the end of a unit, once for each. */
  end({ effort }: Share, good: boolean): void {
    this.#endedEffort += effort;
    if (good) this.#good++;
    else this.#failed++;
  }

  /** The report after `elapsedSeconds` of work. */
  report(ids: { readonly taskUID: string; readonly podUID: string }, elapsedSeconds: number): ProgressReport {
    const left = this.#secondsLeft(elapsedSeconds);
    return {
      ...ids,
      unitsDone: this.#good,
      unitsTotal: this.#total,
      unitsFailed: this.#failed,
      percent: this.#percent(),
      ...(left === undefined ? {} : { estimatedSecondsLeft: left }),
    };
  }

  #percent(): number {
    const ended = this.#good + this.#failed;
    const share = this.#effort > 0 ? this.#endedEffort / this.#effort : ended / Math.max(1, this.#total);
    // Sums of seconds are not exact: all is done when every unit has ended.
    return ended === this.#total ? 100 : Math.min(99, Math.floor(share * 100));
  }

  #secondsLeft(elapsedSeconds: number): number | undefined {
    const worked = this.#endedEffort - this.#givenEffort;
    if (worked <= 0) return undefined;
    return Math.round((elapsedSeconds * Math.max(0, this.#effort - this.#endedEffort)) / worked);
  }
}
