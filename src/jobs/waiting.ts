import { CONTAINER } from '../api/keys.ts';
import { truncate } from '../lib/truncate.ts';
import type { Category } from './categories.ts';
import type { JobView, PodView } from './views.ts';

/** Why an attempt does not run yet. `stuck` names the category it fails with when the pending deadline passes. */
export interface Waiting {
  readonly is: 'waiting';
  readonly reason: string;
  readonly message: string;
  readonly stuck?: Category;
}

const IMAGE_PROBLEM =
  /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable)$/;
const CONFIG_PROBLEM =
  /^(CreateContainerConfigError|CreateContainerError|RunContainerError|CreatePodSandboxError)$/;

/** Reads a Job that has no pod yet, or a pod whose model does not run yet. */
export function waitingFor(seen: JobView | PodView, createProblem?: string): Waiting {
  return 'containers' in seen ? forPod(seen) : forJob(seen, createProblem);
}

function forJob(job: JobView, createProblem: string | undefined): Waiting {
  if (job.suspended) return waiting('Queued', 'The queue has not admitted the Job yet');
  if (createProblem === undefined) return waiting('Starting', 'The Job was created; its pod follows');
  const quota = createProblem.includes('exceeded quota');
  return {
    ...waiting(quota ? 'QuotaExceeded' : 'PodRefused', `The pod cannot be created: ${createProblem}`),
    stuck: quota ? 'QuotaExceeded' : 'ConfigError',
  };
}

function forPod(pod: PodView): Waiting {
  const scheduled = pod.conditions.find((c) => c.type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    return {
      ...waiting('Unschedulable', `No node fits: ${scheduled.message ?? scheduled.reason ?? ''}`),
      stuck: 'Unschedulable',
    };
  }
  const blocked = pod.containers.find((c) => isProblem(c.state?.waiting?.reason));
  if (blocked) return forContainer(blocked.name, blocked.state?.waiting);
  if (pod.containers.some((c) => c.name === CONTAINER.prepare && c.state?.running)) {
    return waiting('Preparing', 'The dataset is being checked');
  }
  return waiting('Starting', `The pod is starting on node ${pod.node ?? '(not chosen yet)'}`);
}

function isProblem(reason: string | undefined): boolean {
  return reason !== undefined && (IMAGE_PROBLEM.test(reason) || CONFIG_PROBLEM.test(reason));
}

function forContainer(
  name: string,
  state: { reason?: string | undefined; message?: string | undefined } | undefined,
): Waiting {
  const why = `${state?.reason ?? ''}: ${state?.message ?? ''}`;
  if (state?.reason && IMAGE_PROBLEM.test(state.reason)) {
    return {
      ...waiting('ImagePull', `The image of container ${name} cannot be pulled (${why})`),
      stuck: 'ImagePull',
    };
  }
  return { ...waiting('ConfigError', `Container ${name} cannot be created (${why})`), stuck: 'ConfigError' };
}

function waiting(reason: string, message: string): Waiting {
  return { is: 'waiting', reason, message: truncate(message, 500) };
}
