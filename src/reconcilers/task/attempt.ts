import type { Attempt } from '../../api/task.ts';
import type { JobView } from '../../jobs/views.ts';
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
