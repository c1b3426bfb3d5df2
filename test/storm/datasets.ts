import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Behaviour, BEHAVIOURS, type PlannedTask } from '../../hack/storm/plan.ts';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { STORM } from '../e2e/support/site.ts';
import { dataset, onStore, own } from '../e2e/support/work.ts';

/* The name of a recording tells the stand-in model how to behave; see test/images/sh-model. */

const RECORDINGS: Readonly<Partial<Record<Behaviour, readonly string[]>>> = {
  good: ['child 1/a.wav', 'child 1/b.wav', 'c.wav'],
  slow: ['slow.wav'],
  partial: ['a.wav', 'b.wav', 'fail.wav'],
  fail: ['fail.wav'],
  nothing: ['a.wav', 'nothing.wav'],
  truncated: ['truncated.wav'],
  oom: ['oom.wav'],
};

/** Datasets are named as ELSI does it, by a UUID: a fixed one for each behaviour. */
function uuidOf(behaviour: Behaviour): string {
  const number = BEHAVIOURS.indexOf(behaviour) + 1;
  return `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

/** Directory of a task's dataset. One that has to wait for its dataset has one of its own; one that is lost has none. */
export function datasetOf({ behaviour, name }: PlannedTask): string {
  if (behaviour === 'late') return uuidLike(name);
  if (behaviour === 'lost') return '00000000-0000-4000-8000-ffffffffffff';
  return uuidOf(behaviour === 'unknown' ? 'good' : behaviour);
}

/** A UUID by itself, or one with the number of the task. */
const uuidLike = (name: string): string =>
  name.startsWith('storm-') ? `00000000-0000-4000-9000-${name.slice(6).padStart(12, '0')}` : name;

export async function layDatasets(): Promise<void> {
  for (const behaviour of BEHAVIOURS) {
    const files = RECORDINGS[behaviour];
    if (files)
      await dataset(uuidOf(behaviour), Object.fromEntries(files.map((file) => [file, wav()])), STORM);
  }
}

/** The dataset of a task that waits for its annotations. */
export async function layLate(planned: PlannedTask): Promise<void> {
  await dataset(datasetOf(planned), { 'a.wav': wav() }, STORM);
}

/** What that task waits for. */
export async function layRequired(planned: PlannedTask): Promise<void> {
  const file = onStore(`${datasetOf(planned)}/annotations/ready/a.csv`, STORM);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, 'segment_onset,segment_offset\n');
  await own(onStore(`${datasetOf(planned)}/annotations`, STORM));
}
