import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { API_VERSION } from '../../src/api/keys.ts';
import { isTerminal, taskStatus, type TaskStatus } from '../../src/api/task.ts';
import { STAGING } from '../../src/api/request.ts';
import { DATASET_PATH } from './dataset.ts';
import type { Kube } from './kube.ts';
import { NAMESPACE, RUN_LABEL } from './names.ts';
import type { Store } from './store.ts';
import type { DemoTask } from './tasks.ts';

/** A task as the cluster shows it now. */
export type Seen = {
  readonly name: string;
  readonly model: string;
  readonly created: number;
  readonly status: TaskStatus;
};

const taskObject = z.object({
  metadata: z.object({
    name: z.string(),
    creationTimestamp: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.object({ model: z.string() }),
  status: taskStatus.default({}),
});
const taskList = z.object({ items: z.array(taskObject) });

const TASKS = `/apis/${API_VERSION}/namespaces/${NAMESPACE}/analysistasks`;
const POLL_MS = 700;

/** All tasks of one run by name. */
export async function readTasks(kube: Kube, run: number): Promise<ReadonlyMap<string, Seen>> {
  const { items } = await listTasks(kube, `?labelSelector=${encodeURIComponent(`${RUN_LABEL}=${run}`)}`);
  return new Map(items.map((item) => [item.metadata.name, seenOf(item)]));
}

/** One task; undefined when there is none of this name. */
export async function readTask(kube: Kube, name: string): Promise<Seen | undefined> {
  const raw = await kube.get(`${TASKS}/${name}`);
  return raw === undefined ? undefined : seenOf(taskObject.parse(raw));
}

function seenOf({ metadata, spec: { model }, status }: z.output<typeof taskObject>): Seen {
  return { name: metadata.name, model, created: Date.parse(metadata.creationTimestamp), status };
}

/** The number of the next run; results on the volume outlive the cluster that made them, and nothing publishes over them. */
export async function nextRun(kube: Kube, store: Store): Promise<number> {
  const { items } = await listTasks(kube, '');
  const labels = items.map(({ metadata }) => metadata.labels[RUN_LABEL] ?? '');
  const files = await store.list(`${DATASET_PATH}/${STAGING.outputs}`);
  return runAfter(labels, files);
}

/** One more than the highest number that any task carries, or any directory of results below `outputs`. */
export function runAfter(labels: readonly string[], files: readonly string[]): number {
  const published = files.map((file) => /^[a-z-]+-(\d{1,6})\//.exec(file)?.[1]);
  const numbers = [...labels, ...published].map(Number);
  return 1 + Math.max(0, ...numbers.filter((number) => Number.isInteger(number)));
}

async function listTasks(kube: Kube, query: string): Promise<z.output<typeof taskList>> {
  return taskList.parse((await kube.get(`${TASKS}${query}`)) ?? { items: [] });
}

/** Whether a task is where it must end up; a Pending one is done when it says the expected reason. */
export function isDone(task: DemoTask, seen: Seen | undefined): boolean {
  if (seen === undefined) return false;
  if (isTerminal(seen.status.phase)) return true;
  const { phase, reason } = task.expect;
  return reason !== undefined && seen.status.phase === phase && seen.status.reason === reason;
}

export type WatchOptions = {
  readonly run: number;
  readonly deadlineMs: number;
  readonly show: (seen: ReadonlyMap<string, Seen>) => void;
};

/** Follows the tasks until all are done or the deadline passes; cancels those that ask for it once they run. */
export async function followTasks(
  kube: Kube,
  tasks: readonly DemoTask[],
  options: WatchOptions,
): Promise<ReadonlyMap<string, Seen>> {
  const end = Date.now() + options.deadlineMs;
  const cancelled = new Set<string>();
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- one question at a time
    const seen = await readTasks(kube, options.run);
    options.show(seen);
    if (tasks.every((task) => isDone(task, seen.get(task.name))) || Date.now() > end) return seen;
    const due = tasks.filter(
      ({ cancel, name }) => cancel && seen.get(name)?.status.phase === 'Running' && !cancelled.has(name),
    );
    for (const { name } of due) {
      cancelled.add(name);
      // oxlint-disable-next-line no-await-in-loop -- at most one task
      await cancelTask(kube, name);
    }
    // oxlint-disable-next-line no-await-in-loop -- the pause between two questions
    await sleep(POLL_MS);
  }
}

async function cancelTask(kube: Kube, name: string): Promise<void> {
  const patch = '{"spec":{"desired":"Cancel"}}';
  await kube.run(['patch', 'analysistask', name, '-n', NAMESPACE, '--type=merge', '-p', patch]);
}
