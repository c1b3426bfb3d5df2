import type { IJob } from 'kubernetes-models/batch/v1';
import { ANNOTATION } from '../../api/keys.ts';
import { isInvalid, isUnknownOutcome } from '../../controller/api-error.ts';
import type { Unsaved } from '../../controller/client.ts';
import type { Reconcile } from '../../controller/controller.ts';
import type { EventRecorder } from '../../controller/events.ts';
import { type Adoption, createExecutor, type Executor } from '../../controller/execute.ts';
import type { Action } from '../../controller/plan.ts';
import type { KubeObject } from '../../controller/resources.ts';
import { messageOf, type Report, TerminalError, WaitError } from '../../controller/settle.ts';
import { writeStatus } from '../../controller/status-writer.ts';
import type { JobView } from '../../jobs/views.ts';
import {
  abandonedJobs,
  observe,
  observeCreation,
  type ObserveDeps,
  observeLive,
  observeRetried,
  observeStore,
} from './observe.ts';
import type { RateBook } from '../rates/rate-book.ts';
import type { Observed } from './observed.ts';
import { parseTask } from '../../api/seen.ts';
import { planTask } from './plan.ts';
import { reported } from './status.ts';
import type { Removal, TaskPlan } from './task-plan.ts';
import type { WrittenVersions } from '../../controller/written.ts';

export interface TaskReconcilerDeps extends ObserveDeps {
  readonly events: EventRecorder;
  readonly written: WrittenVersions;
  readonly rates: Pick<RateBook, 'note'>;
}

/** A plan may ask for live reads, then for events; more rounds would mean that it does not settle. */
const MAX_ROUNDS = 4;
/** The watch brings the newer copy and the key with it; this is only the safety net. */
const STALE_RECHECK_MS = 1000;

/** Observe, decide, act, write the status, tell: one pass over one task. */
export function taskReconciler(deps: TaskReconcilerDeps): Reconcile {
  const jobs = createExecutor<KubeObject>({ client: deps.clients.jobs, adopt: adoptable });
  const pods = createExecutor<KubeObject>({ client: deps.clients.pods, adopt: () => 'foreign' });
  return async (key, signal) => {
    await jobs.execute((await abandonedJobs(deps, key, signal)).map(removalOf), { signal });
    const first = await observe(deps, key, signal);
    if (!first) return {};
    if (deps.written.isStale(first.task)) return { requeueAfterMs: STALE_RECHECK_MS };
    const { seen, plan } = await decide(deps, first, signal);
    await carryOut({ ...deps, jobs, pods }, { seen, plan }, signal);
    return { requeueAfterMs: plan.requeueAfterMs };
  };
}

function removalOf({ metadata }: JobView): Action<KubeObject> {
  const { name, namespace, uid } = metadata;
  return { do: 'delete', name, namespace, uid };
}

interface Decision {
  readonly seen: Observed;
  readonly plan: TaskPlan;
}

async function decide(deps: TaskReconcilerDeps, first: Observed, signal: AbortSignal): Promise<Decision> {
  let seen = first;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const plan = planTask(seen);
    if (!plan.needs) return { seen, plan };
    seen = await readMore(deps, { seen, plan }, signal);
  }
  throw new Error(`The plan of ${first.task.metadata.name} asks for more reads than it can get`);
}

async function readMore(
  deps: TaskReconcilerDeps,
  { seen, plan }: Decision,
  signal: AbortSignal,
): Promise<Observed> {
  switch (plan.needs ?? 'nothing') {
    case 'live':
      return observeLive(deps, seen, signal);
    case 'creation':
      return observeCreation(deps, seen, signal);
    case 'store':
      return observeStore(deps, seen, plan.question);
    case 'retried':
      return observeRetried(deps, seen, signal);
    case 'nothing':
      return seen;
  }
}

interface Hands extends TaskReconcilerDeps {
  readonly jobs: Executor<KubeObject>;
  readonly pods: Executor<KubeObject>;
}

/** Finalizers alone, guarded by the version of the copy decided on. */
async function hold(
  deps: Hands,
  seen: Observed,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, resourceVersion } = seen.task.metadata;
  const patch = { metadata: { resourceVersion, finalizers } };
  deps.written.note(await deps.clients.tasks.mergePatch({ name, namespace }, patch, { signal }));
}

/** The one status write, then removals, then the Job that this write claimed, then the event. */
async function carryOut(deps: Hands, { seen, plan }: Decision, signal: AbortSignal): Promise<void> {
  const { namespace, uid } = seen.task.metadata;
  if (plan.finalizers) return hold(deps, seen, plan.finalizers, signal);
  if (plan.status !== seen.task.status) {
    const now = await writeStatus<KubeObject & { status?: unknown }>(
      deps.clients.tasks,
      seen.task,
      plan.status,
      { signal },
    );
    deps.written.note(now);
    // The watch may have told of the last write already, and what it forgot must stay forgotten.
    if (!plan.status?.settled) deps.progress.written(uid);
    // A terminal phase is written once, whoever tries: so no attempt is counted twice.
    if (plan.measured) deps.rates.note(plan.measured);
  }
  const removal = ({ name, uid: only, force }: Removal): Action<KubeObject> => ({
    do: 'delete',
    namespace,
    name,
    uid: only,
    ...(force ? { gracePeriodSeconds: 0 } : {}),
  });
  await deps.jobs.execute(plan.removeJobs.map(removal), { signal });
  await deps.pods.execute(plan.removePods.map(removal), { signal });
  if (plan.create) {
    const again = seen.task.status?.attempt?.number === plan.status?.attempt?.number;
    await createJob(deps.jobs, plan.create, signal).catch((error: unknown) => {
      throw again && isUnknownOutcome(error) ? unanswered(error) : error;
    });
  }
  if (plan.event) {
    const { type, reason, message } = plan.event;
    deps.events.record(seen.task, { type, reason, action: 'Reconcile', note: message });
  }
}

/** The Job under our name is ours when it belongs to the same task and attempt; its template may differ. */
function adoptable(existing: KubeObject, wanted: Unsaved<KubeObject>): Adoption {
  return provenance(existing) === provenance(wanted) ? 'ours' : 'foreign';
}

function provenance({ metadata }: Unsaved<KubeObject>): string {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller)?.uid;
  return `${owner ?? 'nobody'}/${metadata.annotations?.[ANNOTATION.attempt] ?? ''}`;
}

async function createJob(jobs: Executor<KubeObject>, job: IJob, signal: AbortSignal): Promise<void> {
  const { name, namespace, labels = {}, annotations = {}, ownerReferences = [] } = job.metadata ?? {};
  if (!name || !namespace) throw new Error('A Job needs a name and a namespace');
  const metadata = { name, namespace, labels, annotations, ownerReferences };
  try {
    await jobs.execute([{ do: 'create', object: { ...job, metadata } }], { signal });
  } catch (error) {
    if (!isInvalid(error)) throw error;
    throw new TerminalError(UNBUILDABLE, `The Job is not valid: ${messageOf(error)}`, { cause: error });
  }
}

/** Once is a hiccup; after the second time it is said, and tried as seldom as a Job that was refused. */
function unanswered(error: unknown): WaitError {
  const message = `The Job cannot be created: ${messageOf(error)}`;
  return new WaitError('ReconcileFailed', message, UNANSWERED_PAUSE_MS, { cause: error });
}

const UNANSWERED_PAUSE_MS = 30_000;

/** The model describes a pod that no API server accepts; waiting does not help. */
const UNBUILDABLE = 'ConfigError';

/** Shows a failure in the task's status, read live because the copy decided on may be our own last write but one. */
export function reportFailure(
  deps: TaskReconcilerDeps,
): (key: string, report: Report, signal: AbortSignal) => Promise<void> {
  return async (key, { reason, message }, signal) => {
    const [namespace = '', name = ''] = key.split('/');
    const raw = await deps.clients.tasks.get({ namespace, name }, { signal });
    const seen =
      raw &&
      (await observe({ ...deps, caches: { ...deps.caches, task: () => parseTask(raw) } }, key, signal));
    if (!seen || seen.task.status?.settled) return;
    const phase = reason === UNBUILDABLE ? 'Failed' : (seen.task.status?.phase ?? 'Pending');
    const status = reported(seen, { phase, reason, message });
    deps.written.note(
      await writeStatus<KubeObject & { status?: unknown }>(deps.clients.tasks, seen.task, status, { signal }),
    );
  };
}
