import { chown, lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { API_VERSION } from '../../../src/api/keys.ts';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import { analysisTask, type AnalysisTask } from '../../../src/api/objects.ts';
import { isTerminal, type TaskSpecInput, type TaskStatus } from '../../../src/api/task.ts';
import { eventually } from '../../support/eventually.ts';
import { MODEL_IMAGE, type Namespace, OWNER, site, STORES, TASKS } from './site.ts';

/** Real pods on two loaded cores; a task that is not over by then counts as lost. */
const END_MS = 240_000;
const STANDARD = 'recordings/converted/standard';

/** Absolute path on this machine, which is the cluster's node. */
export function onStore(path: string, namespace: Namespace = TASKS): string {
  return join(STORES[namespace], path);
}

/** Lays out a dataset: relative path below recordings/converted/standard -> content. */
export async function dataset(
  name: string,
  files: Readonly<Record<string, Buffer>>,
  namespace: Namespace = TASKS,
): Promise<string> {
  for (const [path, content] of Object.entries(files)) {
    const file = onStore(join(name, STANDARD, path), namespace);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
  await own(onStore(name, namespace));
  return name;
}

/** Gives a tree of the store to the user of the tasks' pods. */
export async function own(path: string): Promise<void> {
  await chown(path, OWNER.uid, OWNER.gid);
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chown(join(entry.parentPath, entry.name), OWNER.uid, OWNER.gid);
  }
}

/** Files and directories below a path of the store; empty when there is none. */
export async function tree(path: string, namespace: Namespace = TASKS): Promise<string[]> {
  const root = onStore(path, namespace);
  const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((e) => !e.isDirectory())
    .map((e) => relative(root, join(e.parentPath, e.name)))
    .toSorted();
}

export const read = (path: string, namespace: Namespace = TASKS): Promise<string> =>
  readFile(onStore(path, namespace), 'utf8');
export const stat = (path: string, namespace: Namespace = TASKS) => lstat(onStore(path, namespace));

/** The stand-in model of test/images/sh-model; the input's name decides how it behaves. */
export async function model(name: string, spec: Partial<ModelSpecInput> = {}): Promise<string> {
  const base: ModelSpecInput = {
    version: '1',
    image: MODEL_IMAGE,
    run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}'] },
    inputs: { audio: { sampleRate: 16000, channels: 1 } },
    outputs: [{ path: 'raw/{rel}.rttm', format: 'Rttm' }],
    resources: { cpu: '50m', memory: '64Mi' },
    failure: { maxAttempts: 1 },
  };
  const metadata = { name: `e2e-${name}`, labels: { 'analysis.elsi.dev/e2e': 'true' } };
  await site().kube.apply([
    { apiVersion: API_VERSION, kind: 'AnalysisModel', metadata, spec: { ...base, ...spec } },
  ]);
  return metadata.name;
}

export async function task(name: string, spec: TaskSpecInput, namespace: Namespace = TASKS): Promise<void> {
  await site().kube.apply([
    { apiVersion: API_VERSION, kind: 'AnalysisTask', metadata: { name, namespace }, spec },
  ]);
}

export async function get(name: string, namespace: Namespace = TASKS): Promise<AnalysisTask | undefined> {
  const raw = await site().kube.get(`/apis/${API_VERSION}/namespaces/${namespace}/analysistasks/${name}`);
  return raw === undefined ? undefined : analysisTask.parse(raw);
}

export function until(
  name: string,
  what: string,
  wanted: (status: TaskStatus) => boolean,
  namespace: Namespace = TASKS,
): Promise<TaskStatus> {
  return eventually(
    `${name}: ${what}`,
    async () => {
      const status = (await get(name, namespace))?.status;
      return status && wanted(status) ? status : undefined;
    },
    END_MS,
  );
}

/** Waits for the end of a task, whatever it is. */
export function ended(name: string, namespace: Namespace = TASKS): Promise<TaskStatus> {
  return eventually(
    `${name} ends`,
    async () => {
      const status = (await get(name, namespace))?.status;
      return status && isTerminal(status.phase) ? status : undefined;
    },
    END_MS,
  );
}

const pods = z.object({
  items: z.array(
    z.looseObject({
      metadata: z.looseObject({
        name: z.string(),
        uid: z.string(),
        deletionTimestamp: z.string().optional(),
        annotations: z.record(z.string(), z.string()).optional(),
      }),
      spec: z.looseObject({}),
      status: z.looseObject({ phase: z.string() }),
    }),
  ),
});

export async function podsOf(taskUid: string, namespace: Namespace = TASKS) {
  const selector = encodeURIComponent(`analysis.elsi.dev/task-uid=${taskUid}`);
  return pods.parse(await site().kube.get(`/api/v1/namespaces/${namespace}/pods?labelSelector=${selector}`))
    .items;
}
