import { setTimeout as pause } from 'node:timers/promises';
import { ENDPOINT } from '../../hack/demo/callbacks.ts';
import type { PlannedTask } from '../../hack/storm/plan.ts';
import type { TaskSpecInput } from '../../src/api/task.ts';
import { eventually } from '../support/eventually.ts';
import { site, STORM } from '../e2e/support/site.ts';
import { task } from '../e2e/support/work.ts';
import { datasetOf, layLate, layRequired } from './datasets.ts';
import { type Ground, modelOf } from './ground.ts';

/* The people of a storm: each asks for one analysis, some change their mind. Like people they try again when refused. */

const PATIENCE_MS = 180_000;
const AGAIN_MS = 1000;
/** When a researcher gives up waiting for the end of a task. */
const END_MS = 15 * 60_000;

/** One person from the beginning to the end; says what they could not do, if anything. */
export async function live(ground: Ground, planned: PlannedTask, startMs: number): Promise<string[]> {
  try {
    await until(startMs + planned.atSeconds * 1000);
    if (planned.behaviour === 'late') await persist('lay a dataset', () => layLate(planned));
    await persist(`ask for ${planned.name}`, () => ask(ground, planned));
    await Promise.all([bringRequired(planned), changeMind(ground, planned)]);
    return [];
  } catch (error) {
    return [`${planned.name}: ${String(error)}`];
  }
}

export async function until(atMs: number): Promise<void> {
  await pause(Math.max(0, atMs - performance.now()));
}

async function persist(what: string, act: () => Promise<void>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; ; ) {
    const failure = await act().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    if (!failure) return;
    if (performance.now() > end)
      throw new Error(`could not ${what} within ${PATIENCE_MS} ms: ${String(failure.error)}`);
    await pause(AGAIN_MS);
  }
}

async function ask({ elsi }: Ground, planned: PlannedTask): Promise<void> {
  if (planned.way === 'elsi') askElsi(elsi, planned);
  else await task(planned.name, specOf(planned), STORM);
}

function specOf(planned: PlannedTask): TaskSpecInput {
  const { behaviour, seconds, hasCallback } = planned;
  return {
    model: modelOf(behaviour),
    dataset: { path: datasetOf(planned) },
    ...(behaviour === 'slow' ? { parameters: { seconds: String(seconds) } } : {}),
    ...(hasCallback ? { callbacks: [ENDPOINT] } : {}),
  };
}

/** What ELSI calls the model of a behaviour. */
const elsiModel = (planned: PlannedTask): string =>
  `storm_${modelOf(planned.behaviour).slice('e2e-storm-'.length)}`;

function askElsi(elsi: Ground['elsi'], planned: PlannedTask): void {
  elsi.now().add({
    task_uid: planned.name,
    model_name: elsiModel(planned),
    dataset_uid_label: `corpus_${datasetOf(planned)}`,
  });
}

async function bringRequired(planned: PlannedTask): Promise<void> {
  if (planned.behaviour !== 'late') return;
  await pause(planned.seconds * 1000);
  await persist('bring what it needs', () => layRequired(planned)); // the disk may be full
}

async function changeMind(ground: Ground, { name, hand }: PlannedTask): Promise<void> {
  if (!hand) return;
  if (hand.what === 'retry') return askAgain(ground, name, hand.afterSeconds);
  await pause(hand.afterSeconds * 1000);
  const kubectl = (args: readonly string[]): Promise<void> =>
    persist(`${hand.what} ${name}`, async () => void (await site().kube.run([...args, '-n', STORM])));
  const desire = (desired: string): Promise<void> =>
    kubectl(['patch', 'atask', name, '--type=merge', '-p', JSON.stringify({ spec: { desired } })]);
  if (hand.what === 'cancel') await desire('Cancel');
  if (hand.what === 'delete') await kubectl(['delete', 'atask', name, '--wait=false', '--ignore-not-found']);
  if (hand.what === 'suspend') {
    await desire('Suspend');
    await pause(hand.forSeconds * 1000);
    await desire('Run');
  }
}

/** In ELSI a researcher sets a failed task to PENDING again. */
async function askAgain({ elsi }: Ground, uid: string, afterSeconds: number): Promise<void> {
  const failed = () => (elsi.now().tasks.get(uid)?.status_label === 'FAILED' ? true : undefined);
  await eventually(`${uid} has FAILED`, failed, END_MS, AGAIN_MS);
  await pause(afterSeconds * 1000);
  elsi.now().set(uid, { status_label: 'PENDING' });
}
