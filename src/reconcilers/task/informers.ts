import { isDeepStrictEqual } from 'node:util';
import { LABEL, MANAGED_BY } from '../../api/keys.ts';
import type { AnalysisTask } from '../../api/objects.ts';
import { CLAIMS, JOBS, PODS, TASKS } from '../../api/resources.ts';
import { createInformer, type Informer, type InformerOptions } from '../../controller/informer.ts';
import { keyOf, type KubeObject } from '../../controller/resources.ts';
import { type JobView, jobView, type PodView, podView } from '../../jobs/views.ts';
import type { Caches } from './observe.ts';
import { type ModelEntry, parseTask } from '../../api/seen.ts';
import { type ClaimView, claimView } from './claim.ts';

/** One informer per watched namespace, or a single one for all of them. */
type Scoped<T extends KubeObject> = readonly Informer<T>[];

export interface TaskInformers {
  readonly tasks: Scoped<AnalysisTask>;
  readonly jobs: Scoped<JobView & KubeObject>;
  readonly pods: Scoped<PodView & KubeObject>;
  readonly claims: Scoped<ClaimView>;
}

export type InformerBase = Pick<
  InformerOptions<KubeObject>,
  'transport' | 'relistMs' | 'log' | 'metrics' | 'clock'
>;

const taskKeyOfJob = (job: JobView): string[] =>
  job.taskName ? [`${job.metadata.namespace}/${job.taskName}`] : [];
const some = (value: string | undefined): string[] => (value ? [value] : []);

/**
 * Finished work costs nothing: settled tasks are filtered out by the API server, and Jobs and pods are kept as lean
 * views. The store's claim is watched by name, so that no task start needs a read.
 */
export function createTaskInformers(
  base: InformerBase,
  namespaces: readonly string[],
  claimName: string,
): TaskInformers {
  const scopes = scopesOf(namespaces);
  const each = <T extends KubeObject>(options: Omit<InformerOptions<T>, 'transport'>): Scoped<T> =>
    scopes.map((namespace) => createInformer<T>({ ...base, ...options, namespace }));
  const managed = `${LABEL.managedBy}=${MANAGED_BY}`;
  return {
    tasks: each<AnalysisTask>({
      type: TASKS,
      fieldSelector: 'status.settled!=true',
      transform: parseTask,
      indexes: {
        uid: (task) => [task.metadata.uid],
        outbox: (task) => (task.status?.outbox?.length ? [WAITING] : []),
        model: (task) => [task.spec.model],
        retryOf: ({ spec, metadata }) => some(spec.retryOf).map((name) => `${metadata.namespace}/${name}`),
        namespace: (task) => [task.metadata.namespace],
      },
    }),
    jobs: each<JobView>({
      type: JOBS,
      labelSelector: managed,
      transform: jobView,
      indexes: { owner: (job) => some(job.ownerUid), task: taskKeyOfJob },
    }),
    pods: each<PodView>({
      type: PODS,
      labelSelector: managed,
      transform: podView,
      indexes: { task: (pod) => some(pod.taskUid) },
    }),
    claims: each<ClaimView>({
      type: CLAIMS,
      fieldSelector: `metadata.name=${claimName}`,
      transform: claimView,
    }),
  };
}

/** Tasks that have events to deliver, which are few: the deliverer looks several times a second. */
const WAITING = 'waiting';
export const withOutbox = ({ tasks }: TaskInformers): readonly AnalysisTask[] => by(tasks, 'outbox', WAITING);

/** Keys of the watched tasks with this UID: one, or none. */
export const keysOf = ({ tasks }: TaskInformers, uid: string): string[] =>
  by(tasks, 'uid', uid).map((task) => keyOf(task));

/** Where tasks are watched: undefined stands for all namespaces. */
export const scopesOf = (namespaces: readonly string[]): readonly (string | undefined)[] =>
  namespaces.length > 0 ? namespaces : [undefined];

/** What the process runs and waits for, whatever the kind. */
export type RunningInformer = Pick<Informer<KubeObject>, 'synced' | 'hasSynced' | 'run'>;

export function allOf({ tasks, jobs, pods, claims }: TaskInformers): readonly RunningInformer[] {
  return [...tasks, ...jobs, ...pods, ...claims];
}

function find<T extends KubeObject>(scoped: Scoped<T>, key: string): T | undefined {
  for (const informer of scoped) {
    const object = informer.get(key);
    if (object) return object;
  }
  return undefined;
}

function by<T extends KubeObject>(scoped: Scoped<T>, index: string, value: string): readonly T[] {
  return scoped.flatMap((informer) => informer.byIndex(index, value));
}

export function cachesOf(informers: TaskInformers, models: Informer<ModelEntry>, claimName: string): Caches {
  return {
    task: (key) => find(informers.tasks, key),
    model: (name) => models.get(name)?.seen,
    jobsOf: (uid) => by(informers.jobs, 'owner', uid),
    podsOf: (uid) => by(informers.pods, 'task', uid),
    jobsOfName: (key) => by(informers.jobs, 'task', key),
    claim: (namespace) => find(informers.claims, `${namespace}/${claimName}`),
  };
}

type Enqueue = (key: string, priority?: 'normal' | 'low') => void;

/** Which keys a change of each kind brings back. Events only name keys; what happened is read from the caches. */
export function connect(informers: TaskInformers, models: Informer<ModelEntry>, enqueue: Enqueue): void {
  const keysBy = (index: string, value: string): string[] =>
    informers.tasks.flatMap((tasks) => tasks.byIndex(index, value)).map((task) => keyOf(task));
  for (const tasks of informers.tasks) {
    tasks.onChange((_type, task, _previous, source) => {
      enqueue(keyOf(task), source === 'list' ? 'low' : 'normal');
      // A task that ends leaves this watch: whoever wants to retry it waits for that.
      keysBy('retryOf', keyOf(task)).forEach((key) => enqueue(key, 'low'));
    });
  }
  for (const jobs of informers.jobs)
    jobs.onChange((_type, job) => taskKeyOfJob(job).forEach((key) => enqueue(key)));
  for (const pods of informers.pods) {
    pods.onChange((_type, pod) =>
      some(pod.taskUid)
        .flatMap((uid) => keysBy('uid', uid))
        .forEach((key) => enqueue(key)),
    );
  }
  for (const claims of informers.claims) {
    claims.onChange((_type, claim) =>
      keysBy('namespace', claim.metadata.namespace ?? '').forEach((key) => enqueue(key, 'low')),
    );
  }
  models.onChange((type, model, previous) => {
    if (type !== 'deleted' && previous && isSameForTasks(model, previous)) return;
    keysBy('model', model.metadata.name).forEach((key) => enqueue(key, 'low'));
  });
}

/** Rates change with every task that ends, and estimates can wait: they bring no other task back. */
function isSameForTasks(one: ModelEntry, other: ModelEntry): boolean {
  return isDeepStrictEqual(essence(one), essence(other));
}

function essence({ metadata: { uid, deletionTimestamp }, seen }: ModelEntry): unknown {
  return { uid, deletionTimestamp, seen: seen.ok ? seen.model.spec : seen.problem };
}
