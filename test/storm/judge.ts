import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { toldDifferences, wordsTold } from '../../hack/demo/elsi.ts';
import type { Behaviour, PlannedTask } from '../../hack/storm/plan.ts';
import { readManifestHead } from '../../src/agent/manifest.ts';
import { recheckOutputs } from '../../src/agent/recheck.ts';
import { API_VERSION, CONTAINER, LABEL } from '../../src/api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../src/api/objects.ts';
import { STAGING } from '../../src/api/request.ts';
import { runName } from '../../src/elsi/run.ts';
import { identityOf, resultPath } from '../../src/jobs/request.ts';
import { mapBounded } from '../../src/lib/concurrent.ts';
import { idsOf, type Sink, wordsOf } from '../faults/rig/sink.ts';
import type { ModelRun } from '../faults/rig/node.ts';
import { endOf } from '../e2e/support/oracle.ts';
import { site, STORES, STORM } from '../e2e/support/site.ts';
import type { Elsi } from './ground.ts';

/* What must be true when the storm is over, each in words; nothing when it is. */

/** Everything that is known at the end. */
export interface Aftermath {
  readonly people: readonly PlannedTask[];
  readonly tasks: readonly AnalysisTask[];
  /** Seconds since 1970 between which the disk was full. */
  readonly diskFull: readonly { readonly fromMs: number; readonly toMs: number }[];
}

/** The true end of each behaviour, of a task that nobody stops. */
const ENDS: Readonly<Record<Behaviour, string>> = {
  good: 'Succeeded/Published',
  slow: 'Succeeded/Published',
  partial: 'PartiallySucceeded/UnitsFailed',
  fail: 'Failed/ModelError',
  nothing: 'Failed/MissingOutput',
  truncated: 'Failed/MissingOutput',
  oom: 'Failed/OutOfMemory',
  late: 'Succeeded/Published',
  lost: 'Failed/InvalidInput',
  unknown: 'Failed/ModelNotFound',
};
const SHOWN: Readonly<Record<Behaviour, 'COMPLETED' | 'FAILED'>> = {
  good: 'COMPLETED',
  slow: 'COMPLETED',
  partial: 'COMPLETED',
  fail: 'FAILED',
  nothing: 'FAILED',
  truncated: 'FAILED',
  oom: 'FAILED',
  late: 'COMPLETED',
  lost: 'FAILED',
  unknown: 'FAILED',
};

const runsOf = ({ way, name, hand, behaviour }: PlannedTask): string[] => {
  if (way === 'kubectl') return [name];
  if (behaviour === 'unknown') return [];
  return [runName(name, 1), ...(hand?.what === 'retry' ? [runName(name, 2)] : [])];
};

/** All AnalysisTasks of the storm as they are now. */
export async function tasksNow(): Promise<AnalysisTask[]> {
  const list = await site().kube.get(`/apis/${API_VERSION}/namespaces/${STORM}/analysistasks`);
  return z.object({ items: z.array(analysisTask) }).parse(list).items;
}

/** Names of the tasks that are not over yet, or should be gone and are not. */
export function openTasks(people: readonly PlannedTask[], tasks: readonly AnalysisTask[]): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  return people.flatMap((planned) => {
    const isDeleted = planned.hand?.what === 'delete';
    return runsOf(planned).filter((name) => {
      const task = byName.get(name);
      return isDeleted ? task !== undefined : task?.status?.settled !== true;
    });
  });
}

/** Each task is there once, and its end is the true one. */
export function trueEnds({ people, tasks, diskFull }: Aftermath): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  const expected = new Set(people.flatMap(runsOf));
  const strangers = tasks.filter(({ metadata }) => !expected.has(metadata.name));
  const problems = people.flatMap((planned) =>
    runsOf(planned).flatMap((name) => {
      const task = byName.get(name);
      if (planned.hand?.what === 'delete') return task ? [`${name} was deleted and is still there`] : [];
      if (!task?.status) return [`${name} was asked for and is not there`];
      const end = endOf(task.status);
      return allowedEnds(planned, task, diskFull).includes(end)
        ? []
        : [`${name} (${planned.behaviour}) is ${end}: ${task.status.message}`];
    }),
  );
  return [...problems, ...strangers.map(({ metadata }) => `nobody asked for ${metadata.name}`)];
}

function allowedEnds(
  { behaviour, hand }: PlannedTask,
  task: AnalysisTask,
  diskFull: Aftermath['diskFull'],
): string[] {
  return [
    ENDS[behaviour],
    ...(hand?.what === 'cancel' ? ['Cancelled/Cancelled'] : []),
    ...(diskFull.some((full) => livedIn(task, full)) ? ['Failed/Storage'] : []),
  ];
}

function livedIn(
  { metadata, status }: AnalysisTask,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): boolean {
  const end = Date.parse(status?.finishedAt ?? '');
  return Date.parse(metadata.creationTimestamp) < toMs && !(end < fromMs);
}

const isPublished = ({ status }: AnalysisTask): boolean =>
  status?.phase === 'Succeeded' || status?.phase === 'PartiallySucceeded';

/** One whole result for each success, by that task; none by any other. Only fresh or failed work is left in staging. */
export async function volume({ tasks }: Aftermath): Promise<string[]> {
  const each = await mapBounded([...tasks], 4, (task) => (isPublished(task) ? complete(task) : absent(task)));
  return [...each.flat(), ...(await strayStaging(tasks))];
}

const place = (task: AnalysisTask): string => join(STORES[STORM], resultPath(task));

async function complete(task: AnalysisTask): Promise<string[]> {
  const { name } = task.metadata;
  const drift: string[] = [];
  const sha = task.status?.result?.manifestSha256;
  const checked = await recheckOutputs(place(task), {
    concurrency: 2,
    onDrift: ({ path, detail }) => drift.push(`${name}: ${path} ${detail}`),
    ...(sha === undefined ? {} : { manifestSha256: sha }),
  }).catch((error: unknown) => String(error));
  if (typeof checked === 'string') return [`${name} succeeded without a result: ${checked}`];
  const owner = checked.head.identity;
  return owner === identityOf(task) ? drift : [...drift, `the result of ${name} belongs to ${owner}`];
}

async function absent(task: AnalysisTask): Promise<string[]> {
  const head = await readManifestHead(join(place(task), 'manifest.json')).catch(() => undefined);
  return head?.task.uid === task.metadata.uid
    ? [`${task.metadata.name} did not succeed, but has published`]
    : [];
}

/** Staging of a success is gone at once; of any other end when it was idle for 600 s and the sweep has come round. */
const SWEPT_AFTER_MS = (600 + 180) * 1000;

async function strayStaging(tasks: readonly AnalysisTask[]): Promise<string[]> {
  const byUid = new Map(tasks.map((task) => [task.metadata.uid, task]));
  const datasets = await readdir(STORES[STORM]);
  const problems: string[] = [];
  for (const dataset of datasets) {
    const root = join(STORES[STORM], dataset, STAGING.outputs, STAGING.staging);
    for (const uid of await readdir(root).catch(() => [])) {
      const task = byUid.get(uid);
      const { mtimeMs } = await lstat(join(root, uid));
      const isOld = Date.now() - mtimeMs > SWEPT_AFTER_MS;
      const who = task ? `${task.metadata.name}, which is ${task.status?.phase}` : `${uid}, which is gone`;
      if (isOld || (task && isPublished(task))) problems.push(`${dataset} has staging of ${who}`);
    }
  }
  return problems;
}

/** ELSI shows the end of each of its tasks, was told it once, and never anything that goes back. */
export function elsiAgrees(
  people: readonly PlannedTask[],
  elsi: Elsi,
  tasks: readonly AnalysisTask[],
): string[] {
  const { tasks: shown, audit } = elsi.now();
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  return people
    .filter(({ way }) => way === 'elsi')
    .flatMap(({ name, behaviour, hand }) => {
      const phase = byName.get(runName(name, 1))?.status?.phase;
      // Whatever end a task of ELSI has is the one to be shown; that it is the true one is judged elsewhere.
      const end = phase === 'Failed' ? 'FAILED' : SHOWN[behaviour];
      const told = wordsTold(audit, name);
      const is = shown.get(name)?.status_label;
      return [
        ...toldRuns(told, end, hand?.what === 'retry').map((problem) => `${name} (${behaviour}): ${problem}`),
        ...(is === end ? [] : [`ELSI shows ${name} (${behaviour}) as ${is}, not ${end}`]),
      ];
    });
}

/** What is told of a second run is compared by itself; ELSI may have been told nothing but the same end again. */
function toldRuns(told: readonly string[], end: string, isRetried: boolean): string[] {
  if (!isRetried) return toldDifferences([end], told);
  const at = told.indexOf(end) + 1;
  const again = told.slice(at);
  return [
    ...toldDifferences([end], told.slice(0, at)),
    ...(again.length === 0 ? [] : toldDifferences([end], again)),
  ];
}

/** Each event of each task came under one id, the end last, and the end is the task's. */
export function callbacksAgree(
  people: readonly PlannedTask[],
  { deliveries, refused }: Sink,
  tasks: readonly AnalysisTask[],
): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  const subject = z.looseObject({ task: z.looseObject({ name: z.string() }) });
  const nameOf = (delivery: Sink['deliveries'][number]): string =>
    subject.parse(delivery.event.data).task.name;
  const asked = people.filter(({ hasCallback }) => hasCallback);
  const problems = asked.flatMap(({ name }) => {
    const own = deliveries.filter((delivery) => nameOf(delivery) === name);
    const ids = idsOf(own);
    const words = wordsOf(ids.flatMap((id) => own.find(({ event }) => event.id === id) ?? []));
    // Of a deleted task that had not ended the end is "cancelled"; of one that had, its own.
    const phase = byName.get(name)?.status?.phase;
    const isRight =
      (phase === undefined ? words.length > 0 : words.at(-1) === phase.toLowerCase()) &&
      words.slice(0, -1).every((word) => word === 'started') &&
      words.length <= 2;
    return isRight
      ? []
      : [`the receiver took ${words.join(', ') || 'nothing'} of ${name}, which is ${phase}`];
  });
  return [...problems, ...refused.map((why) => `the receiver refused a delivery: ${why}`)];
}

const object = z.object({
  metadata: z.looseObject({
    name: z.string(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
    finalizers: z.array(z.string()).default([]),
    deletionTimestamp: z.string().optional(),
  }),
});
const runState = z.looseObject({ startedAt: z.string().nullish(), finishedAt: z.string().nullish() });
const pod = object.extend({
  status: z.looseObject({
    phase: z.string(),
    initContainerStatuses: z
      .array(z.looseObject({ name: z.string(), state: z.looseObject({ terminated: runState.optional() }) }))
      .default([]),
  }),
});

const items = async <T extends z.ZodType>(shape: T, path: string): Promise<z.output<T>[]> =>
  z.object({ items: z.array(shape) }).parse(await site().kube.get(path)).items;

export const podsNow = () => items(pod, `/api/v1/namespaces/${STORM}/pods`);
export const jobsNow = () => items(object, `/apis/batch/v1/namespaces/${STORM}/jobs`);

/** Nothing runs, nothing belongs to nobody, nothing is held by a finalizer. */
export async function strays({ tasks }: Aftermath): Promise<string[]> {
  const known = new Set<string | undefined>(tasks.map(({ metadata }) => metadata.uid));
  const ours = (await podsNow()).filter(({ metadata }) => metadata.labels[LABEL.taskUid] !== undefined);
  const alive = ours.filter(({ status }) => !['Succeeded', 'Failed'].includes(status.phase));
  const all = [...ours, ...(await jobsNow())];
  return [
    ...alive.map(({ metadata, status }) => `pod ${metadata.name} is ${status.phase}`),
    ...all
      .filter(({ metadata }) => !known.has(metadata.labels[LABEL.taskUid]))
      .map(({ metadata }) => `${metadata.name} belongs to no task`),
    ...[...all, ...tasks]
      .filter(({ metadata }) => (metadata.finalizers ?? []).length > 0)
      .map(({ metadata }) => `${metadata.name} is held by ${metadata.finalizers?.join(', ')}`),
  ];
}

/** When the model of each pod that is still there ran. */
export function ledgerOf(seen: Awaited<ReturnType<typeof podsNow>>): ModelRun[] {
  return seen
    .flatMap(({ metadata, status }) => {
      const run = status.initContainerStatuses.find(({ name }) => name === CONTAINER.model)?.state.terminated;
      if (!run?.startedAt || !run.finishedAt) return [];
      const taskUid = metadata.labels[LABEL.taskUid] ?? '';
      return [
        {
          task: taskUid,
          taskUid,
          pod: metadata.name,
          attempt: 0,
          startedMs: Date.parse(run.startedAt),
          endedMs: Date.parse(run.finishedAt),
          published: undefined,
        },
      ];
    })
    .toSorted((a, b) => a.startedMs - b.startedMs);
}
