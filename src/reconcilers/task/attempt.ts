import type { Attempt, TaskStatus } from '../../api/task.ts';
import { imageOf } from '../../jobs/outcome.ts';
import type { JobView, PodView } from '../../jobs/views.ts';
import type { Observed } from './observed.ts';

/** The attempt with its Job's UID: written once, so that a successor of the same name is never mistaken for it. */
export function withJob(seen: Observed, job: JobView): Attempt {
  const { attempt } = seen.task.status ?? {};
  const base = attempt ?? {
    number: job.attempt ?? 1,
    jobName: job.metadata.name,
    claimedBy: seen.identity,
    claimedAt: job.metadata.creationTimestamp,
  };
  return { ...base, jobUID: base.jobUID ?? job.metadata.uid };
}

/** The model with the image digest that the pod really ran, once the runtime knows it. */
export function boundModel(seen: Observed, pod: PodView | undefined): Pick<TaskStatus, 'model'> {
  const bound = seen.task.status?.model;
  const image = pod && imageOf(pod);
  return bound && image ? { model: { ...bound, image } } : {};
}

/** An attempt that was claimed but never created is claimed again under the same number. */
export function numberOfNext(status: TaskStatus | undefined): number {
  const current = status?.attempt;
  if (!current) return 1;
  return status?.nextAttemptAt ? current.number + 1 : current.number;
}
