/** Sentences about many units, for logs and status messages. */
import { shown } from './failure.ts';
import type { Unit } from './plan.ts';

const NAMED = 3;

/** "a.wav" is empty ...; "b.wav" ...; and 7 more. */
export function listFailures(failed: readonly { readonly name: string; readonly reason?: string }[]): string {
  const named = failed.slice(0, NAMED).map((unit) => `${shown(unit.name)} ${unit.reason ?? 'failed'}`);
  const rest = failed.length - named.length;
  return [...named, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ');
}

/** 12 recordings, 3.4 h of audio, 1 refused: ... */
export function describeUnits(units: readonly Unit[]): string {
  const inputs = units.flatMap((unit) => unit.inputs);
  const seconds = inputs.reduce((sum, input) => sum + (input.seconds ?? 0), 0);
  const noun = seconds > 0 ? 'recording' : 'input';
  const parts = [plural(inputs.length, noun)];
  if (units.length !== inputs.length) parts.push(`in ${units.length} directories`);
  if (seconds > 0) parts.push(`${duration(seconds)} of audio`);
  const reused = units.filter(({ state }) => state === 'reused').length;
  if (reused > 0) parts.push(`${reused} finished by an earlier attempt`);
  const lost = units.filter(({ state }) => state === 'refused' || state === 'abandoned');
  if (lost.length > 0) parts.push(`${lost.length} refused: ${listFailures(lost)}`);
  return parts.join(', ');
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return seconds < 3600 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
