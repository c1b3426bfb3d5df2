import type { Progress, TaskStatus } from '../../api/task.ts';
import type { AgentReport } from '../../api/request.ts';
import { treatment } from '../../jobs/categories.ts';
import type { Outcome } from '../../jobs/outcome.ts';
import { resultPath } from '../../jobs/request.ts';
import type { JobView } from '../../jobs/views.ts';
import { boundModel, withJob } from './attempt.ts';
import { measuredBy } from './progress/measure.ts';
import { failureRules, type Observed } from './observed.ts';
import { decideRetry, type Failed, withFailure } from './retry.ts';
import { reported } from './status.ts';
import { noRemovals, type TaskPlan } from './task-plan.ts';

type Is<K extends Outcome['is']> = Extract<Outcome, { is: K }>;

/** Terminal phase, result and settled in one write. Without a Job it is the recorded one, which is gone. */
export function succeeded(seen: Observed, job: JobView | undefined, outcome: Is<'succeeded'>): TaskPlan {
  const report = outcome.report ?? withoutReport(seen);
  const partial = (report.units?.failed ?? 0) > 0;
  const phase = partial ? 'PartiallySucceeded' : 'Succeeded';
  const change: Partial<TaskStatus> = {
    ...(job ? { attempt: withJob(seen, job) } : {}),
    result: { path: resultPath(seen.task), ...report.result },
    ...(report.units ? { progress: finalProgress(report.units) } : {}),
    ...boundModel(seen, outcome.pod),
    ...someUnits(report.failedUnits),
  };
  const { message } = report;
  const status = reported(seen, { phase, reason: partial ? 'UnitsFailed' : 'Published', message }, change);
  return {
    status,
    ...noRemovals,
    measured: measuredBy(seen, outcome),
    event: { type: partial ? 'Warning' : 'Normal', reason: phase, message },
  };
}

/** The pod and its report are gone, yet its Job succeeded: the manifest beside the outputs says the rest. */
function withoutReport(seen: Observed): AgentReport {
  return { v: 1, message: `Outputs are published in ${resultPath(seen.task)}; see manifest.json there` };
}

function someUnits(failedUnits: string[] | undefined): Partial<TaskStatus> {
  return failedUnits && failedUnits.length > 0 ? { failedUnits } : {};
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
  const rules = bindingRules(seen);
  const limits = { rules, maxDisruptions: seen.policy.maxDisruptions, seed: seen.task.metadata.uid };
  const decision = decideRetry(before, failure, limits);
  const change: Partial<TaskStatus> = {
    ...(job ? { attempt: withJob(seen, job) } : {}),
    failedAttempts: decision.failedAttempts,
    disruptions: decision.disruptions,
    failures: withFailure(before, failure, seen.now),
    ...('report' in failure ? someUnits(failure.report?.failedUnits) : {}),
  };
  return decision.again
    ? retrying(seen, failure, { change, afterMs: decision.afterMs })
    : over(seen, failure, { change, message: decision.message });
}

/** The rules of the model that the task is bound to; a deleted or replaced one starts no further attempt. */
function bindingRules(seen: Observed): ReturnType<typeof failureRules> {
  const sameModel = seen.model?.ok && seen.model.model.metadata.uid === seen.task.status?.model?.uid;
  return sameModel ? failureRules(seen) : undefined;
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
