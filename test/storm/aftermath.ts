import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Aftermath } from '../../hack/storm/judge.ts';
import { recheckOutputs } from '../../src/agent/recheck.ts';
import { API_VERSION, CONTAINER, LABEL } from '../../src/api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../src/api/objects.ts';
import { STAGING } from '../../src/api/request.ts';
import { identityOf, resultPath } from '../../src/jobs/request.ts';
import type { ModelRun } from '../faults/rig/node.ts';
import { site, STORES, STORM } from '../e2e/support/site.ts';

/* What is left on the volume and in the cluster when the storm is over, and what of it must not be. */

/** All AnalysisTasks of the storm as they are now. */
export async function tasksNow(): Promise<AnalysisTask[]> {
  const list = await site().kube.get(`/apis/${API_VERSION}/namespaces/${STORM}/analysistasks`);
  return z.object({ items: z.array(analysisTask) }).parse(list).items;
}

const isPublished = ({ status }: AnalysisTask): boolean =>
  status?.phase === 'Succeeded' || status?.phase === 'PartiallySucceeded';

/** One whole result for each success, by that task; none by any other. Only fresh or failed work is left in staging. */
export async function volume({ tasks }: Aftermath): Promise<string[]> {
  const results = new Map<string, string>();
  const problems: string[] = [];
  for (const dataset of await readdir(STORES[STORM]))
    for (const name of await readdir(join(STORES[STORM], dataset, STAGING.outputs)).catch(() => [])) {
      if (name === STAGING.staging) continue;
      const path = join(dataset, STAGING.outputs, name);
      const { owner, drift } = await examine(path);
      results.set(path, owner);
      problems.push(...drift);
    }
  return [...problems, ...tasks.flatMap((task) => ownResult(task, results)), ...(await strayStaging(tasks))];
}

/** Whose result it is; a deleted task may have one too, but no half of one. */
async function examine(path: string): Promise<{ readonly owner: string; readonly drift: string[] }> {
  const drift: string[] = [];
  const checked = await recheckOutputs(join(STORES[STORM], path), {
    concurrency: 2,
    onDrift: ({ path: file, detail }) => drift.push(`${path}: ${file} ${detail}`),
  }).catch((error: unknown) => void drift.push(`${path}: ${String(error)}`));
  return { owner: checked ? `${checked.head.identity} ${checked.manifestSha256}` : 'nobody', drift };
}

function ownResult(task: AnalysisTask, results: ReadonlyMap<string, string>): string[] {
  const { name } = task.metadata;
  const owner = results.get(resultPath(task));
  const own = `${identityOf(task)} ${task.status?.result?.manifestSha256}`;
  if (isPublished(task)) return owner === own ? [] : [`${name} succeeded, but its result is of ${owner}`];
  return owner?.startsWith(identityOf(task)) ? [`${name} did not succeed, but has published`] : [];
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
