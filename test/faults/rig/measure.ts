import { readFile } from 'node:fs/promises';
import { eventually } from '../../support/eventually.ts';
import type { Operator } from '../../support/operator.ts';
import { RECOVERY_MS } from './world.ts';

/** The sum of all series of a metric whose labels contain each of the given texts, such as `resource="pods"`. */
export async function metricOf(
  { healthUrl }: Operator,
  name: string,
  ...labels: readonly string[]
): Promise<number> {
  const text = await fetch(`${healthUrl}/metrics`).then((answer) => answer.text());
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Waits until a metric, summed as by `metricOf`, is at least that much. */
export function counted(
  operator: Operator,
  least: number,
  name: string,
  ...labels: readonly string[]
): Promise<true> {
  const reached = async () => ((await metricOf(operator, name, ...labels)) >= least ? true : undefined);
  return eventually(`${name}{${labels.join(',')}} is at least ${least}`, reached, RECOVERY_MS);
}

/** Waits until a process holds its lease. */
export const leads = (operator: Operator): Promise<true> =>
  counted(operator, 1, 'leader_election_master_status');

/** Resident memory of a process in bytes, now and at its highest so far. */
export async function memoryOf({ pid }: Operator): Promise<{ readonly now: number; readonly peak: number }> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  const kibOf = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
  return { now: kibOf('VmRSS') * 1024, peak: kibOf('VmHWM') * 1024 };
}
