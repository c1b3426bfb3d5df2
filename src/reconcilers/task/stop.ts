import { categoryOf } from '../../jobs/categories.ts';
import type { TaskStatus } from '../../api/task.ts';
import { forgotten, type Outcome, outcomeOf, publishedBy } from '../../jobs/outcome.ts';
import { jobName } from '../../jobs/names.ts';
import { isAlive, type JobView, jobVerdict, overdueMs, type PodView } from '../../jobs/views.ts';
import { withJob } from './attempt.ts';
import { failed, succeeded } from './finish.ts';
import { clockOf, type Observed } from './observed.ts';
import type { Failed } from './retry.ts';
import { reported } from './status.ts';
import { noRemovals, type Removal, type TaskPlan } from './task-plan.ts';

/** Reason of a task whose Job was deleted because of desired: Suspend, until no pod is left. */
const SUSPENDING = 'Suspending';

/** Looks again this often while a pod is ending; its last watch event usually comes first. */
const STOP_POLL_MS = 5000;

const isDeletable = ({ metadata }: { metadata: { deletionTimestamp?: string } }) =>
  !metadata.deletionTimestamp;

const named = ({ metadata }: { metadata: Removal }): Removal => ({ name: metadata.name, uid: metadata.uid });

/** What still runs, or could: unfinished Jobs, pods whose Job is gone, and pods that a lost node holds on to. */
export function removals(seen: Observed): Pick<TaskPlan, 'removeJobs' | 'removePods'> {
  const jobs = seen.jobs.filter((job) => jobVerdict(job) === 'unfinished');
  const owners = new Set(seen.jobs.map((job) => job.metadata.uid));
  const alive = ownPods(seen).filter(isAlive);
  const orphans = alive.filter((pod) => isDeletable(pod) && (!pod.ownerUid || !owners.has(pod.ownerUid)));
  const forced = alive.filter((pod) => !isForced(pod) && givenUpInMs(seen, pod) <= 0);
  return {
    removeJobs: jobs.filter(isDeletable).map(named),
    removePods: [...orphans.map(named), ...forced.map((pod) => ({ ...named(pod), force: true }))],
  };
}

/**
 * Milliseconds until an attempt goes on without the word of its node; infinite where nobody allowed that. A pod that
 * somebody has deleted by force is given up as soon as its node counts as lost.
 */
export function givenUpInMs({ policy, now }: Observed, pod: PodView): number {
  const { afterSeconds, forceDeleteAfterSeconds = Number.POSITIVE_INFINITY } = policy.nodeLost;
  const overdue = overdueMs(pod, now);
  if (overdue === undefined) return Number.POSITIVE_INFINITY;
  return (afterSeconds + (isForced(pod) ? 0 : forceDeleteAfterSeconds)) * 1000 - overdue;
}

/** Every pod of ours has a grace, unless its deletion was forced; it then stays until its Job lets go of it. */
const isForced = (pod: PodView): boolean => pod.deletionGraceSeconds === 0;

/** True while a Job may still create a pod or a pod may still run. */
export function isActive(seen: Observed): boolean {
  return seen.jobs.some((job) => jobVerdict(job) === 'unfinished') || ownPods(seen).some(isAlive);
}

/** Attempts whose pods may still be around: older ones had to be gone before the next one began. */
const REMEMBERED_ATTEMPTS = 16;

/**
 * Pods that Jobs of this task made, whether these Jobs are still there or not. Anybody can put the task's label on a
 * pod: such a pod is none of its business, neither waited for nor removed.
 */
function ownPods(seen: Observed): readonly PodView[] {
  const jobs = new Set(seen.jobs.map((job) => job.metadata.uid));
  const strays = seen.pods.filter(({ ownerUid }) => !ownerUid || !jobs.has(ownerUid));
  if (strays.length === 0) return seen.pods;
  const last = seen.task.status?.attempt?.number ?? 0;
  const names = Array.from({ length: REMEMBERED_ATTEMPTS }, (_, back) =>
    jobName(seen.task.metadata, last - back),
  );
  const isForeign = (pod: PodView): boolean => !pod.jobName || !names.includes(pod.jobName);
  return seen.pods.filter((pod) => !strays.includes(pod) || !isForeign(pod));
}

/** Begins to stop the current attempt; its verdict is kept in the status until no pod is left. */
export function stop(seen: Observed, verdict: Failed): TaskPlan {
  const won = meanwhileSucceeded(seen);
  if (won) return won;
  if (seen.live && !isActive(seen)) return failed(seen, verdict);
  const report = {
    phase: seen.task.status?.phase ?? 'Pending',
    reason: 'Stopping',
    message: `${verdict.message}; waiting for the pod to stop`,
  } as const;
  const stopping = {
    category: verdict.category,
    message: verdict.message.slice(0, 500),
    since: seen.now.toISOString(),
  };
  const status = reported(seen, report, { stopping, ...recorded(seen) });
  return { status, ...removals(seen), requeueAfterMs: STOP_POLL_MS };
}

export function continueStopping(seen: Observed, stopping: NonNullable<TaskStatus['stopping']>): TaskPlan {
  const won = meanwhileSucceeded(seen);
  if (won) return won;
  if (isActive(seen)) return stillStopping(seen);
  if (!seen.live) return { status: seen.task.status, ...noRemovals, needs: 'live' };
  return failed(seen, { category: categoryOf(stopping.category), message: stopping.message });
}

/**
 * What the task is to be halted for, if anything; to delete it is to cancel it. A suspension that was taken back before
 * its pod had stopped is carried through all the same, so that the attempt it ended does not count.
 */
export function haltOf({ task: { metadata, spec, status } }: Observed): 'Cancel' | 'Suspend' | undefined {
  if (metadata.deletionTimestamp) return 'Cancel';
  if (spec.desired !== 'Run') return spec.desired;
  return status?.reason === SUSPENDING ? 'Suspend' : undefined;
}

function stillStopping(seen: Observed): TaskPlan {
  const phase = seen.task.status?.phase ?? 'Pending';
  const message = heldUp(seen);
  const status = message ? reported(seen, { phase, reason: 'Stopping', message }) : seen.task.status;
  return { status, ...removals(seen), requeueAfterMs: STOP_POLL_MS };
}

/** Cancel and Suspend: delete the Job, wait until no pod is alive, then say so. A publish that won the race wins. */
export function halt(seen: Observed, desired: 'Cancel' | 'Suspend'): TaskPlan {
  const won = meanwhileSucceeded(seen);
  if (won) return won;
  if (desired === 'Suspend' && seen.task.status?.reason === 'Suspended')
    return { status: seen.task.status, ...noRemovals };
  if (isActive(seen)) return halting(seen, desired);
  if (seen.task.status?.attempt && !seen.live)
    return { status: seen.task.status, ...noRemovals, needs: 'live' };
  return desired === 'Cancel' ? cancelled(seen) : suspended(seen);
}

function halting(seen: Observed, desired: 'Cancel' | 'Suspend'): TaskPlan {
  const report = {
    phase: seen.task.status?.phase ?? 'Pending',
    reason: desired === 'Cancel' ? 'Cancelling' : SUSPENDING,
    message: heldUp(seen) ?? 'Waiting for the pod to stop',
  } as const;
  return { status: reported(seen, report, recorded(seen)), ...removals(seen), requeueAfterMs: STOP_POLL_MS };
}

/** Why stopping takes so long: a pod whose node says nothing. */
function heldUp(seen: Observed): string | undefined {
  const { now, nodeLostAfterMs } = clockOf(seen);
  const pod = ownPods(seen).find((p) => (overdueMs(p, now) ?? 0) > nodeLostAfterMs);
  return pod && forgotten(pod);
}

/** The UID of the Job that is about to be deleted: without it the attempt would look as if it never had one. */
function recorded(seen: Observed): Pick<TaskStatus, 'attempt'> {
  const job = seen.jobs.find((j) => j.metadata.name === seen.task.status?.attempt?.jobName);
  return job ? { attempt: withJob(seen, job) } : {};
}

function cancelled(seen: Observed): TaskPlan {
  const report = {
    phase: 'Cancelled',
    reason: 'Cancelled',
    message: 'The task was cancelled; nothing was published',
  } as const;
  return {
    status: reported(seen, report),
    ...noRemovals,
    event: { type: 'Normal', reason: 'Cancelled', message: 'Cancelled on request' },
  };
}

/** The attempt is over and does not count; finished units stay in staging for the next one. */
function suspended(seen: Observed): TaskPlan {
  const report = {
    phase: 'Pending',
    reason: 'Suspended',
    message: 'Suspended on request; set desired: Run to go on',
  } as const;
  const over = seen.task.status?.attempt ? { nextAttemptAt: seen.now.toISOString() } : {};
  return {
    status: reported(seen, report, over),
    ...noRemovals,
    event: { type: 'Normal', reason: 'Suspended', message: 'Suspended on request' },
  };
}

/**
 * The current attempt finished with success before it could be stopped. A Job that is being deleted, or gone, gets no
 * verdict any more: then its pod tells whether it had published.
 */
function meanwhileSucceeded(seen: Observed): TaskPlan | undefined {
  const { attempt, nextAttemptAt } = seen.task.status ?? {};
  if (!attempt || nextAttemptAt) return undefined;
  const job = seen.jobs.find((j) => j.metadata.name === attempt.jobName);
  const outcome = job && jobVerdict(job) !== 'unfinished' ? verdictOf(seen, job) : publication(seen, job);
  if (outcome?.is !== 'succeeded') return undefined;
  // A Job that nobody deletes is about to say the same.
  if (job && jobVerdict(job) === 'unfinished' && isDeletable(job)) return soon(seen);
  return succeeded(seen, job, outcome);
}

function verdictOf(seen: Observed, job: JobView): Outcome {
  const pods = seen.pods.filter(({ ownerUid }) => ownerUid === job.metadata.uid);
  return outcomeOf({ job, pods, exitCodes: undefined, ...clockOf(seen) });
}

function publication(seen: Observed, job: JobView | undefined): Outcome | undefined {
  const uid = job?.metadata.uid ?? seen.task.status?.attempt?.jobUID;
  return publishedBy(seen.pods.filter(({ ownerUid }) => ownerUid !== undefined && ownerUid === uid));
}

function soon(seen: Observed): TaskPlan {
  return { status: seen.task.status, ...noRemovals, requeueAfterMs: STOP_POLL_MS };
}
