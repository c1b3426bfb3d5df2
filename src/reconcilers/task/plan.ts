import { isDeepStrictEqual } from 'node:util';
import { type Attempt, isTerminal } from '../../api/task.ts';
import { jobName } from '../../jobs/names.ts';
import { type Outcome, outcomeOf } from '../../jobs/outcome.ts';
import { isAlive, type JobView, jobVerdict, type PodView } from '../../jobs/views.ts';
import { begin } from './begin.ts';
import { failed, succeeded } from './finish.ts';
import { running, waiting } from './follow.ts';
import { clockOf, failureRules, type Observed } from './observed.ts';
import { holdOf } from './hold.ts';
import { isHeld, withOutbox } from './status.ts';
import { continueStopping, givenUpInMs, halt, haltOf, removals, stop } from './stop.ts';
import { noRemovals, type TaskPlan } from './task-plan.ts';

/**
 * The life of a task, read top to bottom, most final state first.
 *
 *   (no attempt) --claim+create--> attempt n --+--> Succeeded | PartiallySucceeded
 *        ^                                     +--> Failed
 *        +------ over: retry, resume ----------+--> stopping --> Failed | over
 *   desired: Cancel --> (no pod left) --> Cancelled        desired: Suspend --> (no pod left) --> over
 *
 * An attempt is over when nextAttemptAt is set: its Job is finished or gone and another attempt follows.
 */
export function planTask(seen: Observed): TaskPlan {
  const plan = nextStep(seen);
  // A pod whose Job no cache shows may be the healthy pod of a Job that the cache has not heard of yet.
  return plan.removePods.length > 0 && !seen.live ? { ...nothing(seen), needs: 'live' } : plan;
}

function nextStep(seen: Observed): TaskPlan {
  const { metadata } = seen.task;
  // The owner reference takes Job and pods along, but not while somebody's finalizer holds the task, nor with --cascade=orphan.
  if (metadata.deletionTimestamp && !isHeld(metadata)) return { ...nothing(seen), ...removals(seen) };
  if (isOutdated(seen)) return { ...nothing(seen), requeueAfterMs: OUTDATED_RECHECK_MS };
  const finalizers = holdOf(seen);
  return finalizers ? { ...nothing(seen), finalizers } : lifeOf(seen);
}

function lifeOf(seen: Observed): TaskPlan {
  const { status } = seen.task;
  if (isTerminal(status?.phase)) return tidy(seen);
  if (status?.stopping) return continueStopping(seen, status.stopping);
  const halted = haltOf(seen);
  if (halted) return halt(seen, halted);
  return status?.attempt && !status.nextAttemptAt ? follow(seen, status.attempt) : begin(seen);
}

/** The watch brings the newer copy, and the key with it. */
const OUTDATED_RECHECK_MS = 1000;

/**
 * A claim comes before its Job, so a Job of a later attempt proves that this copy of the task is an old one. The name
 * vouches for the attempt: an annotation can be edited.
 */
function isOutdated({ task, jobs }: Observed): boolean {
  const known = task.status?.attempt?.number ?? 0;
  return jobs.some(
    ({ attempt = 0, metadata }) => attempt > known && metadata.name === jobName(task.metadata, attempt),
  );
}

function nothing(seen: Observed): TaskPlan {
  return { status: seen.task.status, ...noRemovals };
}

/** A terminal task has no running work: whatever still runs was created by a delayed request. */
function tidy(seen: Observed): TaskPlan {
  const stray = removals(seen);
  if (stray.removeJobs.length > 0 && !seen.live) return { ...nothing(seen), needs: 'live' };
  const { status } = seen.task;
  const next = status && withOutbox(seen, status);
  return { status: isDeepStrictEqual(next, status) ? status : next, ...stray };
}

/** A Job that only a live read finds (its labels were edited) brings no watch event: it is looked at again this soon. */
const UNWATCHED_RECHECK_MS = 5000;

function follow(seen: Observed, attempt: Attempt): TaskPlan {
  const plan = followed(seen, attempt);
  const { requeueAfterMs: again } = plan;
  if (!seen.live || again === undefined) return plan;
  return { ...plan, requeueAfterMs: Math.min(again, UNWATCHED_RECHECK_MS) };
}

function followed(seen: Observed, attempt: Attempt): TaskPlan {
  const job = currentJob(seen, attempt);
  if (!job) return missing(seen, attempt);
  const pods = seen.pods.filter((pod) => pod.ownerUid === job.metadata.uid);
  if (jobVerdict(job) !== 'unfinished' && !seen.live && lagging(pods))
    return { ...nothing(seen), needs: 'live' };
  const noPodBecause = seen.creation?.problem;
  const exitCodes = failureRules(seen)?.exitCodes;
  const outcome = outcomeOf({ job, pods, exitCodes, noPodBecause, ...clockOf(seen) });
  switch (outcome.is) {
    case 'waiting':
      return waiting(seen, job, outcome, pods.length > 0);
    case 'running':
      return runningOrAbandoned(seen, job, outcome);
    case 'doomed':
      return stop(seen, outcome);
    case 'succeeded':
      return succeeded(seen, job, outcome);
    case 'failed':
      return failed(seen, outcome, job);
  }
}

/** When its node had its time, an attempt ends without its word: the fence on the volume holds off what may still run. */
function runningOrAbandoned(
  seen: Observed,
  job: JobView,
  outcome: Extract<Outcome, { is: 'running' }>,
): TaskPlan {
  if (givenUpInMs(seen, outcome.pod) > 0) return running(seen, job, outcome);
  if (!seen.live) return { ...nothing(seen), needs: 'live' };
  return stop(seen, { category: 'NodeLost', message: outcome.message });
}

/** The Job that this attempt recorded; one of the same name with another UID is somebody else's doing. */
function currentJob(seen: Observed, attempt: Attempt): JobView | undefined {
  const job = seen.jobs.find((j) => j.metadata.name === attempt.jobName);
  return job && (!attempt.jobUID || attempt.jobUID === job.metadata.uid) ? job : undefined;
}

/** A finished Job whose pod still looks alive, or is not there: the pod's cache is behind, and the verdict is in the pod. */
function lagging(pods: readonly PodView[]): boolean {
  return pods.length === 0 || pods.some(isAlive);
}

/** Longest time in which the Job's own watch event may follow the answer to its creation. */
const CREATION_ECHO_MS = 3000;
/** Pause before a Job that the API server refused is tried again. */
const REFUSED_PAUSE_MS = 30_000;

/** Absence is a fact only after a live read; then an unrecorded Job is created again and a recorded one is lost. */
function missing(seen: Observed, attempt: Attempt): TaskPlan {
  if (!seen.live) {
    const pause = attempt.jobUID ? 0 : ownClaimPause(seen, attempt);
    return pause > 0 ? { ...nothing(seen), requeueAfterMs: pause } : { ...nothing(seen), needs: 'live' };
  }
  if (!attempt.jobUID) return begin(seen);
  return stop(seen, { category: 'Lost', message: 'The Job was deleted from outside while it ran' });
}

/** How long this process waits for the echo of its own claim, or before it repeats one whose Job was refused. */
function ownClaimPause(seen: Observed, attempt: Attempt): number {
  if (attempt.claimedBy !== seen.identity) return 0;
  const refused = seen.task.status?.reason !== 'Starting';
  return Date.parse(attempt.claimedAt) + (refused ? REFUSED_PAUSE_MS : CREATION_ECHO_MS) - seen.now.getTime();
}
