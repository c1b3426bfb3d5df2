/** Sentences about many units, for logs and status messages. */
import { shown } from './failure.ts';
import type { Unit } from './plan.ts';

const NAMED = 3;

/** Something that failed, as it is named in a sentence. */
export interface NamedFailure {
  readonly name: string;
  readonly reason?: string | undefined;
}

/** How many failed, and the first of them by name. */
export class FailureList {
  count = 0;
  readonly first: NamedFailure[] = [];

  add({ name, reason }: NamedFailure): void {
    this.count++;
    if (this.first.length < NAMED) this.first.push({ name, reason });
  }
}

/** "a.wav" is empty ...; "b.wav" ...; and 7 more. */
export function listFailures({ count, first }: Pick<FailureList, 'count' | 'first'>): string {
  const named = first.slice(0, NAMED).map(({ name, reason }) => `${shown(name)} ${reason ?? 'failed'}`);
  const rest = count - named.length;
  return [...named, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ');
}

/** Counts the units of a plan as they pass by. */
export class Census {
  total = 0;
  inputs = 0;
  inputBytes = 0;
  audioSeconds = 0;
  reused = 0;
  /** Those of the reused that another task finished. */
  retried = 0;
  abandoned = 0;
  /** Refused or abandoned. */
  readonly lost = new FailureList();
  /** Finished by the task that is retried, but spoilt since. */
  readonly rerun = new FailureList();

  add(unit: Unit): void {
    this.total++;
    this.inputs += unit.inputs.length;
    for (const { size, seconds = 0 } of unit.inputs) {
      this.inputBytes += size;
      this.audioSeconds += seconds;
    }
    if (unit.state === 'reused') this.reused++;
    if (unit.from !== undefined) this.retried++;
    if (unit.rerun !== undefined) this.rerun.add({ name: unit.name, reason: `because ${unit.rerun}` });
    if (unit.state === 'abandoned') this.abandoned++;
    if (unit.state === 'refused' || unit.state === 'abandoned') this.lost.add(unit);
  }

  /** 12 recordings, 3.4 h of audio, 1 refused: ... */
  describe(): string {
    const parts = [plural(this.inputs, this.audioSeconds > 0 ? 'recording' : 'input')];
    if (this.total !== this.inputs) parts.push(`in ${this.total} directories`);
    if (this.audioSeconds > 0) parts.push(`${duration(this.audioSeconds)} of audio`);
    const resumed = this.reused - this.retried;
    if (resumed > 0) parts.push(`${resumed} finished by an earlier attempt`);
    if (this.retried > 0) parts.push(`${this.retried} finished by the task that is retried`);
    if (this.rerun.count > 0) parts.push(`${this.rerun.count} run again: ${listFailures(this.rerun)}`);
    if (this.lost.count > 0) parts.push(`${this.lost.count} refused: ${listFailures(this.lost)}`);
    return parts.join(', ');
  }
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return seconds < 3600 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
