/** Counts of a running task; pure but for the clock that is passed in. */
import type { ProgressReport } from '../api/request.ts';
import type { Unit } from './plan.ts';

/** Follows units to their end. The percentage goes by bytes of input and never decreases. */
export class Progress {
  readonly #units: readonly Unit[];
  readonly #ended = new Map<string, boolean>();
  readonly #totalBytes: number;
  readonly #reusedBytes: number;
  #endedBytes = 0;

  constructor(units: readonly Unit[]) {
    this.#units = units;
    this.#totalBytes = units.reduce((sum, unit) => sum + bytesOf(unit), 0);
    for (const unit of units) if (unit.state !== 'run') this.end(unit, unit.state === 'reused');
    this.#reusedBytes = this.#endedBytes;
  }

  /** Records the end of a unit; only the first call for a unit counts. */
  end(unit: Unit, good: boolean): void {
    if (this.#ended.has(unit.id)) return;
    this.#ended.set(unit.id, good);
    this.#endedBytes += bytesOf(unit);
  }

  hasEnded(unit: Unit): boolean {
    return this.#ended.has(unit.id);
  }

  /** The report after `elapsedSeconds` of work. */
  report(ids: { readonly taskUID: string; readonly podUID: string }, elapsedSeconds: number): ProgressReport {
    const good = [...this.#ended.values()].filter(Boolean).length;
    const left = this.#secondsLeft(elapsedSeconds);
    return {
      ...ids,
      unitsDone: good,
      unitsTotal: this.#units.length,
      unitsFailed: this.#ended.size - good,
      percent: this.#percent(),
      ...(left === undefined ? {} : { estimatedSecondsLeft: left }),
    };
  }

  #percent(): number {
    const share =
      this.#totalBytes > 0
        ? this.#endedBytes / this.#totalBytes
        : this.#ended.size / Math.max(1, this.#units.length);
    return Math.min(100, Math.floor(share * 100));
  }

  #secondsLeft(elapsedSeconds: number): number | undefined {
    const worked = this.#endedBytes - this.#reusedBytes;
    if (worked <= 0) return undefined;
    return Math.round((elapsedSeconds * (this.#totalBytes - this.#endedBytes)) / worked);
  }
}

function bytesOf(unit: Unit): number {
  return unit.inputs.reduce((sum, input) => sum + input.size, 0);
}
