import type { Category } from '../../jobs/categories.ts';
import { treatment } from '../../jobs/categories.ts';
import type { Outcome } from '../../jobs/outcome.ts';
import type { JobView, PodView } from '../../jobs/views.ts';
import { boundModel, withJob } from './attempt.ts';
import { type Observed, pendingDeadline } from './observed.ts';
import { progressOf } from './progress.ts';
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

/** The attempt does not run yet: say why, and give up when it stays so beyond the pending deadline. */
export function waiting(seen: Observed, job: JobView, outcome: Is<'waiting'>, hasPod: boolean): TaskPlan {
  const podOverdue = !hasPod && outcome.reason !== QUEUED && ageOf(seen, job) > POD_EXPECTED_MS;
  if (podOverdue && !seen.creation) return { status: seen.task.status, ...noRemovals, needs: 'creation' };
  const leftMs = pendingLeftMs(seen, job, outcome);
  if (leftMs <= 0) return stop(seen, overdue(seen, outcome));
  const { reason, message } = outcome;
  const phase = seen.task.status?.phase === 'Running' ? 'Running' : 'Pending'; // never backwards within an attempt
  const status = reported(seen, { phase, reason, message }, { attempt: withJob(seen, job) });
  return {
    status,
    ...noRemovals,
    requeueAfterMs: Math.min(
      hasPod ? WAIT_RECHECK_MS : POD_EXPECTED_MS + 1000,
      leftMs,
      outcome.recheckMs ?? WAIT_RECHECK_MS,
    ),
    ...warning(seen, outcome),
  };
}

/** Only what somebody has to mend is an event, and only when it begins. */
function warning(seen: Observed, { reason, message, stuck }: Is<'waiting'>): Pick<TaskPlan, 'event'> {
  const begins = stuck !== undefined && seen.task.status?.reason !== reason;
  return begins ? { event: { type: 'Warning', reason, message } } : {};
}

function ageOf(seen: Observed, job: JobView): number {
  return seen.now.getTime() - Date.parse(job.metadata.creationTimestamp);
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
  const isHeld = reason === QUEUED || job.suspended; // let go, but its first pod may come before the Job's own news
  if (!claimedAt || isHeld || hasStarted(job, startedAt)) return Number.POSITIVE_INFINITY;
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
  const { pod, reason, message, recheckMs = RUNNING_RECHECK_MS } = outcome;
  const before = seen.task.status;
  const startedAt = outcome.startedAt ?? before?.attempt?.startedAt;
  // A pod that never started may be held by a lost node.
  const phase = startedAt === undefined && before?.phase !== 'Running' ? 'Pending' : 'Running';
  const change = {
    attempt: { ...withJob(seen, job), ...started(startedAt), podName: pod.metadata.name, ...nodeOf(pod) },
    ...started(before?.startedAt ?? startedAt),
    ...boundModel(seen, pod),
    progress: progressOf(seen),
  };
  return {
    status: reported(seen, { phase, reason, message }, change),
    ...noRemovals,
    requeueAfterMs: Math.min(recheckMs, RUNNING_RECHECK_MS, givenUpInMs(seen, pod)),
  };
}

const started = (startedAt: string | undefined) => (startedAt === undefined ? {} : { startedAt });
const nodeOf = ({ node }: PodView) => (node === undefined ? {} : { node });
