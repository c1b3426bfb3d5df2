import type { Category } from '../../jobs/categories.ts';
import { treatment } from '../../jobs/categories.ts';
import type { Outcome } from '../../jobs/outcome.ts';
import { holds, type JobView, type PodView } from '../../jobs/views.ts';
import { boundModel, withJob } from './attempt.ts';
import { type Observed, pendingDeadline } from './observed.ts';
import { progressOf, progressWaitMs } from './progress/shown.ts';
import type { Failed } from './retry.ts';
import { reported } from './status.ts';
import { givenUpInMs, stop } from './stop.ts';
import { noRemovals, type TaskPlan } from './task-plan.ts';

type Is<K extends Outcome['is']> = Extract<Outcome, { is: K }>;

/** A Job without a pod for this long makes the operator ask the Job's events why. */
const POD_EXPECTED_MS = 4000;
const WAIT_RECHECK_MS = 30_000;
/** Reason of a Job that somebody else starts. */
const QUEUED = 'Queued';
const QUEUE_RECHECK_MS = 3_600_000;

/** The attempt does not run yet: say why, and give up when it stays so beyond the pending deadline. */
export function waiting(seen: Observed, job: JobView, outcome: Is<'waiting'>, hasPod: boolean): TaskPlan {
  if (job.suspended) return queued(seen, job, outcome);
  const { creationTimestamp } = job.metadata;
  const age = Math.min(ageMs(seen, creationTimestamp), ageMs(seen, job.startedAt ?? creationTimestamp));
  const podOverdue = !hasPod && outcome.reason !== QUEUED && age > POD_EXPECTED_MS;
  if (podOverdue && !seen.creation) return { status: seen.task.status, ...noRemovals, needs: 'creation' };
  const leftMs = pendingLeftMs(seen, job, outcome);
  if (leftMs <= 0) return stop(seen, overdue(seen, outcome));
  const isGap = !hasPod && hasJustRun(seen, outcome);
  return {
    status: isGap ? seen.task.status : waitingStatus(seen, job, outcome),
    ...noRemovals,
    requeueAfterMs: Math.min(
      hasPod ? WAIT_RECHECK_MS : POD_EXPECTED_MS + 1000,
      leftMs,
      outcome.recheckMs ?? WAIT_RECHECK_MS,
    ),
    ...warning(seen, outcome),
  };
}

/** The pod of a running attempt is gone: in a moment its Job says why, and until then there is nothing to tell. */
function hasJustRun({ task }: Observed, { reason }: Is<'waiting'>): boolean {
  return reason === 'Starting' && RAN.has(task.status?.reason ?? '');
}

const RAN: ReadonlySet<string> = new Set(['Running', 'Publishing']);

/**
 * A queue may take days, so nothing is late here. What it says is read once per stay and then left alone, because each
 * look lists events; until it has said something, the looks become ever rarer.
 */
function queued(seen: Observed, job: JobView, outcome: Is<'waiting'>): TaskPlan {
  const { status } = seen.task;
  const since = job.conditions.find(({ type, status: is }) => type === 'Suspended' && is === 'True');
  const stayMs = ageMs(seen, since?.lastTransitionTime ?? job.metadata.creationTimestamp);
  const told = !seen.creation && status?.reason === outcome.reason && status.message !== outcome.message;
  if (!told && !seen.creation && stayMs > POD_EXPECTED_MS)
    return { status, ...noRemovals, needs: 'creation' };
  return {
    status: waitingStatus(seen, job, told ? { ...outcome, message: status.message ?? '' } : outcome),
    ...noRemovals,
    requeueAfterMs: Math.min(Math.max(stayMs, POD_EXPECTED_MS + 1000), QUEUE_RECHECK_MS),
  };
}

function waitingStatus(seen: Observed, job: JobView, { reason, message }: Is<'waiting'>) {
  const phase = seen.task.status?.phase === 'Running' ? 'Running' : 'Pending'; // never backwards within an attempt
  return reported(seen, { phase, reason, message }, { attempt: withJob(seen, job) });
}

/** Only what somebody has to mend is an event, and only when it begins. */
function warning(seen: Observed, { reason, message, stuck }: Is<'waiting'>): Pick<TaskPlan, 'event'> {
  const begins = stuck !== undefined && seen.task.status?.reason !== reason;
  return begins ? { event: { type: 'Warning', reason, message } } : {};
}

function ageMs(seen: Observed, since: string): number {
  return seen.now.getTime() - Date.parse(since);
}

function overdue(seen: Observed, outcome: Is<'waiting'>): Failed {
  const category: Category = outcome.stuck ?? 'PendingDeadlineExceeded';
  const message = `${outcome.message} (waited ${pendingDeadline(seen)} s, the pending deadline); ${treatment(category).hint}`;
  return { category, message };
}

/**
 * A queue's own time, before the start or in a suspension later on, and the agent's work do not count as waiting. Nor
 * does a pod whose node runs its containers once more: that attempt has started, and the run deadline bounds it.
 */
function pendingLeftMs(seen: Observed, job: JobView, { reason, since }: Is<'waiting'>): number {
  const { claimedAt, startedAt } = seen.task.status?.attempt ?? {};
  // The queue lets a Job run a moment before the Job controller starts it.
  const inQueue = reason === QUEUED || holds(job.conditions, 'Suspended');
  if (!claimedAt || inQueue || hasStarted(job, startedAt)) return Number.POSITIVE_INFINITY;
  const times = [claimedAt, job.startedAt, since].flatMap((time) => (time ? [Date.parse(time)] : []));
  return Math.max(...times) + pendingDeadline(seen) * 1000 - seen.now.getTime(); // the latest: clocks of nodes may lag
}

/** Whether the model ran since the queue last let the Job go. */
function hasStarted(job: JobView, startedAt: string | undefined): boolean {
  return startedAt !== undefined && (!job.startedAt || Date.parse(job.startedAt) <= Date.parse(startedAt));
}

/** How often a running task is looked at without any event; progress arrives by its own poller. */
const RUNNING_RECHECK_MS = 60_000;

export function running(seen: Observed, job: JobView, outcome: Is<'running'>): TaskPlan {
  const { pod, recheckMs = RUNNING_RECHECK_MS } = outcome;
  const before = seen.task.status;
  const { reason, message } = outcome.isEnding ? lastWords(before, outcome) : outcome;
  const startedAt = outcome.startedAt ?? before?.attempt?.startedAt;
  // A pod that never started may be held by a lost node.
  const phase = startedAt === undefined && before?.phase !== 'Running' ? 'Pending' : 'Running';
  const change = {
    attempt: { ...withJob(seen, job), ...started(startedAt), podName: pod.metadata.name, ...nodeOf(pod) },
    ...started(before?.startedAt ?? startedAt),
    ...boundModel(seen, pod),
    progress: progressOf(seen, pod, startedAt),
  };
  return {
    status: reported(seen, { phase, reason, message }, change),
    ...noRemovals,
    requeueAfterMs: Math.min(
      recheckMs,
      RUNNING_RECHECK_MS,
      givenUpInMs(seen, pod),
      progressWaitMs(seen, change.progress),
    ),
  };
}

/** What was said of a publication stays until the verdict: it would look as if the model ran again. */
function lastWords(before: Observed['task']['status'], { reason, message }: Is<'running'>) {
  return before?.reason === 'Publishing'
    ? { reason: before.reason, message: before.message ?? '' }
    : { reason, message };
}

const started = (startedAt: string | undefined) => (startedAt === undefined ? {} : { startedAt });
const nodeOf = ({ node }: PodView) => (node === undefined ? {} : { node });
