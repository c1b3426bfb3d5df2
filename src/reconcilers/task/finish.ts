import type { Progress, TaskStatus } from '../../api/task.ts';
import { treatment } from '../../jobs/categories.ts';
import { imageOf, type Outcome } from '../../jobs/outcome.ts';
import { resultPath } from '../../jobs/request.ts';
import type { JobView } from '../../jobs/views.ts';
import { withJob } from './attempt.ts';
import type { Observed } from './observed.ts';
import { decideRetry, type Failed, withFailure } from './retry.ts';
import { reported } from './status.ts';
import { noRemovals, type TaskPlan } from './task-plan.ts';

type Is<K extends Outcome['is']> = Extract<Outcome, { is: K }>;

/** Terminal phase, result and settled in one write. */
export function succeeded(seen: Observed, job: JobView, outcome: Is<'succeeded'>): TaskPlan {
  const units = outcome.report?.units;
  const partial = (units?.failed ?? 0) > 0;
  const phase = partial ? 'PartiallySucceeded' : 'Succeeded';
  const path = outcome.report?.result?.path ?? resultPath(seen.task);
  const message =
    outcome.report?.message ??
    `Outputs are published in ${path}; the pod's report is gone, see manifest.json there`;
  const failedUnits = outcome.report?.failedUnits;
  const image = outcome.pod && imageOf(outcome.pod);
  const bound = seen.task.status?.model;
  const status = reported(
    seen,
    { phase, reason: partial ? 'UnitsFailed' : 'Published', message },
    {
      attempt: withJob(seen, job),
      result: { path, ...outcome.report?.result },
      progress: units ? finalProgress(units) : seen.task.status?.progress,
      ...(bound && image ? { model: { ...bound, image } } : {}),
      ...(failedUnits && failedUnits.length > 0 ? { failedUnits } : {}),
    },
  );
  return { status, ...noRemovals, event: { type: partial ? 'Warning' : 'Normal', reason: phase, message } };
}

function finalProgress(units: { total: number; done: number; failed: number }): Progress {
  return {
    unitsDone: units.done,
    unitsTotal: units.total,
    unitsFailed: units.failed,
    percent: 100,
    summary: `${units.done}/${units.total}`,
  };
}

/** The attempt is over without a result: another one follows, or the task has failed. */
export function failed(seen: Observed, failure: Is<'failed'> | Failed, job?: JobView): TaskPlan {
  const before = seen.task.status;
  const rules =
    seen.model?.ok && seen.model.model.metadata.uid === before?.model?.uid
      ? seen.model.model.spec.failure
      : undefined;
  const limits = { rules, maxDisruptions: seen.policy.maxDisruptions, seed: seen.task.metadata.uid };
  const decision = decideRetry(before, failure, limits);
  const failedUnits = 'report' in failure ? failure.report?.failedUnits : undefined;
  const change: Partial<TaskStatus> = {
    ...(job ? { attempt: withJob(seen, job) } : {}),
    failedAttempts: decision.failedAttempts,
    disruptions: decision.disruptions,
    failures: withFailure(before, failure, seen.now),
    ...(failedUnits && failedUnits.length > 0 ? { failedUnits } : {}),
  };
  return decision.again
    ? retrying(seen, failure, { change, afterMs: decision.afterMs })
    : over(seen, failure, { change, message: decision.message });
}

function retrying(
  seen: Observed,
  failure: Failed,
  next: { change: Partial<TaskStatus>; afterMs: number },
): TaskPlan {
  const nextAttemptAt = new Date(seen.now.getTime() + next.afterMs).toISOString();
  const message = `Attempt ${seen.task.status?.attempt?.number ?? 1} failed (${failure.category}): ${failure.message}; another one follows`;
  const status = reported(
    seen,
    { phase: 'Pending', reason: 'Retrying', message },
    { ...next.change, nextAttemptAt, stopping: undefined },
  );
  return {
    status,
    ...noRemovals,
    requeueAfterMs: next.afterMs,
    event: { type: 'Warning', reason: failure.category, message },
  };
}

function over(
  seen: Observed,
  failure: Failed,
  end: { change: Partial<TaskStatus>; message: string },
): TaskPlan {
  const hint = end.message.includes('; ') ? '' : `; ${treatment(failure.category).hint}`;
  const message = `${end.message}${hint}`;
  const status = reported(seen, { phase: 'Failed', reason: failure.category, message }, end.change);
  return { status, ...noRemovals, event: { type: 'Warning', reason: failure.category, message } };
}
