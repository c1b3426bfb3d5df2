import type { AgentCategory } from './failure.ts';
import { WorkSum } from './effort.ts';
import { shorten } from './report.ts';
import { FailureList } from './summary.ts';
import type { OutputRecord } from './records.ts';
import type { Verdict } from './verify.ts';

const REPORTED = 4;

/** Counts the verdicts of a plan as they come in, and remembers what the end needs of them. */
export class Tally {
  total = 0;
  failed = 0;
  reused = 0;
  /** Good units that the task that is retried had finished: copied from it, or spoilt since and run again. */
  readonly retried = { copied: 0, rerun: 0 };
  /** Disjoint; together all failed units. */
  readonly failures = new Map<AgentCategory, FailureList>();
  /** The first failed units, each with its reason. */
  readonly failedUnits: string[] = [];
  /** Outputs of good units, by path. */
  readonly kept = new Set<string>();
  bytes = 0;
  readonly work = new WorkSum();
  /** Outputs that failed units promised. */
  readonly lost: string[] = [];

  /** Counts a verdict; returns the outputs that no verdict before it had. */
  add({ unit, outputs, failure }: Verdict): OutputRecord[] {
    this.total++;
    if (unit.state === 'reused') this.reused++;
    if (failure === undefined && unit.from !== undefined) this.retried.copied++;
    if (failure === undefined && unit.rerun !== undefined) this.retried.rerun++;
    this.work.add(unit, failure === undefined);
    if (failure === undefined) return outputs.filter((output) => this.#keep(output));
    this.failed++;
    // One by one: a unit may promise more outputs than a call can have arguments.
    for (const { path } of unit.outputs) this.lost.push(path);
    if (this.failedUnits.length < REPORTED)
      this.failedUnits.push(shorten(`${unit.name} ${failure.reason}`, 200));
    const list = this.failures.get(failure.category) ?? new FailureList();
    list.add({ name: unit.name, reason: failure.reason });
    this.failures.set(failure.category, list);
    return [];
  }

  #keep({ path, size }: OutputRecord): boolean {
    if (this.kept.has(path)) return false;
    this.kept.add(path);
    this.bytes += size;
    return true;
  }

  /** Counts of the result; the manifest repeats them, so that a later pod reports the same. */
  summary(): Record<string, unknown> {
    const { total, failed, reused, retried, bytes, failedUnits } = this;
    return {
      units: { total, done: total - failed, failed, reused },
      files: this.kept.size,
      bytes,
      failedUnits,
      ...(retried.copied + retried.rerun > 0 ? { retried } : {}),
    };
  }
}
