import assert from 'node:assert/strict';
import { FINALIZER } from '../../../api/keys.ts';
import type { AnalysisTask } from '../../../api/objects.ts';
import type { Phase, TaskStatus } from '../../../api/task.ts';
import type { TaskSpecInput } from '../../../api/task.ts';
import { aJob, aTask, claimed, NOW, reporting } from '../../../jobs/testing/fixtures.ts';
import type { JobView } from '../../../jobs/views.ts';
import type { Observed } from '../observed.ts';

/** One row of a planner table: what is seen, and what must follow. */
export interface Row {
  readonly given: Observed;
  readonly does?: readonly string[];
  readonly phase?: Phase;
  readonly reason?: string;
  readonly message?: RegExp;
  readonly settled?: boolean;
  /** Status of the condition Succeeded. */
  readonly succeeded?: 'True' | 'False' | 'Unknown';
  /** Status of the condition CallbacksDelivered. */
  readonly delivered?: 'True' | 'False' | 'Unknown';
  /** Types of the events that wait. */
  readonly outbox?: readonly string[];
  /** Parts of the status as they must be. */
  readonly status?: Partial<TaskStatus>;
}

export type Rows = Readonly<Record<string, Row>>;

export const running = claimed({ phase: 'Running', reason: 'Running', startedAt: '2026-03-01T11:59:30Z' });
export const withStatus = (status: TaskStatus, spec: Partial<TaskSpecInput> = {}) => aTask(spec, status);
/** A task that somebody outside waits for; deleted, if a time is given. */
export const held = (
  task: AnalysisTask,
  { by = 'elsi', deletedAt }: { readonly by?: keyof typeof FINALIZER; readonly deletedAt?: string } = {},
): AnalysisTask => ({
  ...task,
  metadata: {
    ...task.metadata,
    finalizers: [FINALIZER[by]],
    ...(deletedAt ? { deletionTimestamp: deletedAt } : {}),
  },
});
export const agoTask = (seconds: number, spec = {}) => {
  const task = aTask(spec);
  const creationTimestamp = new Date(NOW.getTime() - seconds * 1000).toISOString();
  return { ...task, metadata: { ...task.metadata, creationTimestamp } };
};
export const complete = reporting(0, {
  units: { total: 3, done: 3, failed: 0, reused: 0 },
  result: { path: 'corpus/outputs/night-1', manifestSha256: 'ab', files: 3, bytes: 9 },
});
export const partial = reporting(0, {
  units: { total: 3, done: 2, failed: 1, reused: 0 },
  failedUnits: ['b.wav: broken'],
});

export function attemptOf(status: ReturnType<typeof claimed>) {
  assert.ok(status.attempt);
  return status.attempt;
}

export function unrecorded(claimedAt?: Date) {
  const { jobUID: _, ...attempt } = attemptOf(claimed());
  return claimed({ attempt: { ...attempt, ...(claimedAt ? { claimedAt: claimedAt.toISOString() } : {}) } });
}

export function oldJob(more: Partial<JobView> = {}) {
  const job = aJob('unfinished', more);
  return { ...job, metadata: { ...job.metadata, creationTimestamp: '2026-03-01T11:59:20Z' } };
}
