import { LABEL } from '../../api/keys.ts';
import type { AnalysisTask } from '../../api/objects.ts';
import type { AgentRequest } from '../../api/request.ts';
import { jobName } from '../../jobs/names.ts';
import { type JobView, jobVerdict, jobView, type PodView, podView } from '../../jobs/views.ts';
import type { KubeObject } from '../../controller/resources.ts';
import type { ResourceClient } from '../../controller/client.ts';
import { type ModelSeen, parseTask } from '../../api/seen.ts';
import { isTerminal } from '../../api/task.ts';
import type { Hardware } from '../rates/hardware.ts';
import { type ClaimView, storeProblem } from './claim.ts';
import type { Observed } from './observed.ts';
import type { ProgressBook } from './progress/book.ts';
import type { StoreBook } from './store/book.ts';
import { whyNoPod } from './why-no-pod.ts';

/** The informers' caches, by what a decision asks for. */
export interface Caches {
  task(key: string): AnalysisTask | undefined;
  model(name: string): ModelSeen | undefined;
  jobsOf(taskUid: string): readonly JobView[];
  podsOf(taskUid: string): readonly PodView[];
  /** Jobs whose owner has this namespace/name, for tasks that are no longer watched. */
  jobsOfName(key: string): readonly JobView[];
  claim(namespace: string): ClaimView | undefined;
}

export interface Clients {
  readonly tasks: ResourceClient<KubeObject>;
  readonly jobs: ResourceClient<KubeObject>;
  readonly pods: ResourceClient<KubeObject>;
  readonly events: ResourceClient<KubeObject>;
}

export interface ObserveDeps {
  readonly caches: Caches;
  readonly clients: Clients;
  readonly progress: ProgressBook;
  readonly hardware: Pick<Hardware, 'peek'>;
  /** Undefined: no store agent is configured. */
  readonly store: StoreBook | undefined;
  readonly callbacks: Observed['callbacks'];
  readonly now: () => Date;
  readonly mayStart: () => boolean;
  readonly settings: Pick<Observed, 'identity' | 'defaults' | 'policy'>;
}

/**
 * Gathers what a decision may look at, from the caches. A settled task is no longer in the cache; it is read
 * live only when one of its Jobs still runs, which then must go.
 */
export async function observe(
  deps: ObserveDeps,
  key: string,
  signal: AbortSignal,
): Promise<Observed | undefined> {
  const task = deps.caches.task(key) ?? (await settledTask(deps, key, signal));
  if (!task) return undefined;
  const { uid, namespace } = task.metadata;
  const { settings, caches } = deps;
  const model = caches.model(task.spec.model);
  return {
    task,
    model,
    jobs: caches.jobsOf(uid),
    pods: caches.podsOf(uid),
    live: false,
    storeProblem: storeProblem(caches.claim(namespace), settings.defaults.claimName, namespace),
    creation: undefined,
    store: deps.store ? undefined : { is: 'unknown' },
    retried: undefined,
    progress: deps.progress.report(uid),
    progressPauseMs: deps.progress.pauseMs(uid),
    hardware: hardwareOf(deps.hardware, task, model),
    callbacks: deps.callbacks,
    ...settings,
    mayStart: deps.mayStart(),
    now: deps.now(),
  };
}

/** Nodes are read for running attempts only: nobody asks for the speed of others. */
function hardwareOf(
  hardware: ObserveDeps['hardware'],
  { status }: AnalysisTask,
  model: ModelSeen | undefined,
): string | undefined {
  if (!model?.ok) return undefined;
  const runsOn = isTerminal(status?.phase) ? undefined : status?.attempt?.node;
  return hardware.peek(model.model.spec.gpu, runsOn);
}

/**
 * Jobs that outlived their task, because it was deleted with --cascade=orphan: nobody would record their end. The name
 * proves that a Job was made for that task; whether the task is gone is read live.
 */
export async function abandonedJobs(
  { caches, clients }: ObserveDeps,
  key: string,
  signal: AbortSignal,
): Promise<readonly JobView[]> {
  const [namespace = '', name = ''] = key.split('/');
  const ownerless = caches
    .jobsOfName(key)
    .filter(
      ({ ownerUid, taskUid = '', attempt = 0, metadata }) =>
        !ownerUid &&
        !metadata.deletionTimestamp &&
        metadata.name === jobName({ name, uid: taskUid }, attempt),
    );
  if (ownerless.length === 0) return [];
  const { metadata: task } = (await clients.tasks.get({ namespace, name }, { signal })) ?? {};
  return ownerless.filter(({ taskUid }) => !task || task.deletionTimestamp || task.uid !== taskUid);
}

async function settledTask(
  deps: ObserveDeps,
  key: string,
  signal: AbortSignal,
): Promise<AnalysisTask | undefined> {
  const running = deps.caches.jobsOfName(key).some((job) => jobVerdict(job) === 'unfinished');
  if (!running) return undefined;
  const [namespace = '', name = ''] = key.split('/');
  const raw = await deps.clients.tasks.get({ namespace, name }, { signal });
  return raw && parseTask(raw);
}

/**
 * The same world with Jobs and pods read from the API server now: only then absence is a fact. Pods are read before
 * Jobs, so that a pod without a Job is one whose Job is gone, not one whose Job came a moment later. The attempt's own
 * Job is read by its name and known by its UID, because its labels and its owner can be edited.
 */
export async function observeLive(deps: ObserveDeps, seen: Observed, signal: AbortSignal): Promise<Observed> {
  const { namespace, uid } = seen.task.metadata;
  const query = { namespace, labelSelector: `${LABEL.taskUid}=${uid}`, signal };
  const pods = (await deps.clients.pods.list(query)).map(podView);
  const found = (await deps.clients.jobs.list(query)).map(jobView);
  const { jobName: name, jobUID } = seen.task.status?.attempt ?? {};
  const isFound = found.some(({ metadata }) => metadata.name === name);
  const own = name && !isFound ? await deps.clients.jobs.get({ namespace, name }, { signal }) : undefined;
  return {
    ...seen,
    jobs: [...found, ...(own ? [jobView(own)] : [])].filter(
      (job) => job.ownerUid === uid || job.metadata.uid === jobUID,
    ),
    pods,
    live: true,
    mayStart: deps.mayStart(),
    now: deps.now(),
  };
}

/**
 * The same world with the task that spec.retryOf names. Ended tasks are in no cache, and a cache never proves absence:
 * the task is read now.
 */
export async function observeRetried(
  { clients }: Pick<ObserveDeps, 'clients'>,
  seen: Observed,
  signal: AbortSignal,
): Promise<Observed> {
  const { namespace } = seen.task.metadata;
  const name = seen.task.spec.retryOf;
  const raw = name === undefined ? undefined : await clients.tasks.get({ namespace, name }, { signal });
  return { ...seen, retried: { task: raw && parseTask(raw) } };
}

/** The same world with what the store agent knows; never waits for its answer. */
export function observeStore(
  { store }: Pick<ObserveDeps, 'store'>,
  seen: Observed,
  question: AgentRequest | undefined,
): Observed {
  const { namespace } = seen.task.metadata;
  if (!store || !question) return { ...seen, store: { is: 'unknown' } };
  return { ...seen, store: store.look(namespace, question) };
}

/** The same world with the reason for which there is no pod, if the Job controller or the queue gave one. */
export async function observeCreation(
  deps: ObserveDeps,
  seen: Observed,
  signal: AbortSignal,
): Promise<Observed> {
  const job = seen.jobs.find((j) => j.metadata.name === seen.task.status?.attempt?.jobName);
  const problem = job && (await whyNoPod(deps.clients.events, job, signal));
  return { ...seen, creation: { problem } };
}
