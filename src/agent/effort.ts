import type { Effort } from '../api/effort.ts';
import type { WorkReport } from '../api/request.ts';
import type { Unit } from './plan.ts';

/** Sums of seconds are not exact, and nobody reads more than milliseconds of them. */
export function roundEffort(effort: number): number {
  return Math.round(effort * 1000) / 1000;
}

/** Sums up what the model did in this pod. */
export class WorkSum {
  #done = 0;
  #failed = 0;

  add({ state, effort }: Pick<Unit, 'state' | 'effort'>, good: boolean): void {
    if (state !== 'run') return;
    if (good) this.#done += effort;
    else this.#failed += effort;
  }

  report(effort: Effort): WorkReport {
    return { effort, done: roundEffort(this.#done), failed: roundEffort(this.#failed) };
  }
}
