import type { Attempt, Retried, TaskStatus } from '../../api/task.ts';
import { desiredJob } from '../../jobs/job.ts';
import { jobName } from '../../jobs/names.ts';
import { type Admission, admit } from './admit.ts';
import { numberOfNext } from './attempt.ts';
import { type Observed, pendingDeadline } from './observed.ts';
import { MAX_PAUSE_MS } from './retry.ts';
import { reported } from './status.ts';
import { isActive, removals } from './stop.ts';
import { storeVerdict } from './store/check.ts';
import { noRemovals, type TaskPlan } from './task-plan.ts';

/** A missing model or volume announces itself by a watch event; this is the safety net. */
const RECHECK_MS = 60_000;
const LEASE_RECHECK_MS = 1000;

/** Starts the next attempt, or says why not. */
export function begin(seen: Observed): TaskPlan {
  const admission = admit(seen);
  if (admission.verdict === 'refuse') return refused(seen, admission.category, admission.message);
  if (admission.verdict === 'read') return { status: seen.task.status, ...noRemovals, needs: 'retried' };
  if (admission.verdict === 'wait') return waitOrGiveUp(seen, admission);
  const pause = pauseLeftMs(seen);
  if (pause > 0) return { status: seen.task.status, ...noRemovals, requeueAfterMs: pause };
  if (isActive(seen))
    return { status: seen.task.status, ...removals(seen), requeueAfterMs: LEASE_RECHECK_MS };
  return askStore(seen, admission) ?? start(seen, admission);
}

type Start = Extract<Admission, { verdict: 'start' }>;

/** What the store has against starting now; undefined when it has nothing, or nobody can be asked. */
function askStore(seen: Observed, admission: Start): TaskPlan | undefined {
  const unchanged = { status: seen.task.status, ...noRemovals };
  const found = storeVerdict(seen, admission);
  switch (found.verdict) {
    case 'start':
      return undefined;
    case 'ask':
      return { ...unchanged, needs: 'store', question: found.question };
    case 'pause':
      return { ...unchanged, requeueAfterMs: found.ms };
    case 'wait':
      return waitOrGiveUp(seen, { ...found, retried: admission.retried }, found.recheckMs);
    case 'refuse':
      return refused(seen, found.category, found.message);
  }
}

function start(seen: Observed, admission: Start): TaskPlan {
  // A first attempt needs no live read: the claim itself fails on a stale copy of a task that ever had one.
  if (seen.task.status?.attempt && !seen.live)
    return { status: seen.task.status, ...noRemovals, needs: 'live' };
  if (!seen.mayStart) return { status: seen.task.status, ...noRemovals, requeueAfterMs: LEASE_RECHECK_MS };
  return unstartable(seen) ?? claim(seen, admission);
}

function pauseLeftMs(seen: Observed): number {
  const left = Date.parse(seen.task.status?.nextAttemptAt ?? '') - seen.now.getTime();
  // Nothing asks for a longer pause: a clock was wrong then, or somebody else wrote the status.
  return left > MAX_PAUSE_MS ? 0 : left;
}

/** A claimed attempt whose Job the API server keeps refusing ends with the last reason it gave. */
function unstartable(seen: Observed): TaskPlan | undefined {
  const { status } = seen.task;
  if (!status?.attempt || status.nextAttemptAt || status.reason === 'Starting') return undefined;
  const waited = seen.now.getTime() - waitingSinceMs(seen);
  if (waited < pendingDeadline(seen) * 1000) return undefined;
  return refused(seen, status.reason ?? 'ConfigError', status.message ?? 'The Job could not be created');
}

/**
 * The claim is the linearization point: a status write guarded by the resourceVersion of the copy decided on.
 * Whoever wins it creates the Job in the same pass; the claimer's identity makes every claim change the object,
 * so of two claimers with the same copy one gets a conflict.
 */
function claim(seen: Observed, admission: Start): TaskPlan {
  const { model, parameters, retried } = admission;
  const change = `${admission.change}${retried ? ` as a retry of task ${seen.task.spec.retryOf ?? ''}` : ''}`;
  const before = seen.task.status;
  const number = numberOfNext(before);
  const attempt: Attempt = {
    number,
    jobName: jobName(seen.task.metadata, number),
    claimedBy: seen.identity,
    claimedAt: seen.now.toISOString(),
  };
  const report = {
    phase: 'Pending',
    reason: 'Starting',
    message: `Attempt ${number} is being started${change}`,
  } as const;
  const bound = before?.model ?? { uid: model.metadata.uid, image: model.spec.image };
  return {
    status: reported(seen, report, {
      attempt,
      model: bound,
      ...binding(retried),
      nextAttemptAt: undefined,
      progress: undefined,
    }),
    ...noRemovals,
    create: desiredJob({ task: seen.task, model, attempt: number, parameters, retried }, seen.defaults),
    event: {
      type: 'Normal',
      reason: 'Started',
      message: `Created Job ${attempt.jobName} for attempt ${number}${change}`,
    },
  };
}

/** The retried task may be deleted at any time: what is needed of it is kept from the first write on. */
function binding(retried: Retried | undefined): Pick<TaskStatus, 'retryOf'> {
  return retried ? { retryOf: retried } : {};
}

function waitOrGiveUp(
  seen: Observed,
  { reason, message, retried }: { reason: string; message: string; retried?: Retried | undefined },
  recheckMs = RECHECK_MS,
): TaskPlan {
  const seconds = pendingDeadline(seen);
  const left = waitingSinceMs(seen) + seconds * 1000 - seen.now.getTime();
  if (left <= 0) return refused(seen, reason, `${message} (waited ${seconds} s, the pending deadline)`);
  const status = reported(seen, { phase: 'Pending', reason, message }, binding(retried));
  const event =
    seen.task.status?.reason === reason ? {} : { event: { type: 'Warning' as const, reason, message } };
  return { status, ...noRemovals, requeueAfterMs: Math.min(left, recheckMs), ...event };
}

/**
 * When the wait for the next attempt began: with the task, or when its last attempt or a suspension ended. A task that
 * ran for days has not waited for days.
 */
function waitingSinceMs({ task, now }: Observed): number {
  const { failures = [], conditions = [] } = task.status ?? {};
  const suspension = conditions.find(({ type }) => type === 'Suspended');
  const resumedAt = suspension?.status === 'True' ? now.toISOString() : suspension?.lastTransitionTime;
  const begins = [task.metadata.creationTimestamp, failures.at(-1)?.at, resumedAt];
  return Math.max(...begins.flatMap((at) => (at === undefined ? [] : [Date.parse(at)])));
}

function refused(seen: Observed, reason: string, message: string): TaskPlan {
  return {
    status: reported(seen, { phase: 'Failed', reason, message }),
    ...noRemovals,
    event: { type: 'Warning', reason, message },
  };
}
