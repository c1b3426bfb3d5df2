import { CONTAINER } from '../api/keys.ts';
import { truncate } from '../lib/truncate.ts';
import type { Category } from './categories.ts';
import type { JobCondition, JobView, PodView } from './views.ts';

/** Why an attempt does not run yet. `stuck` names the category it fails with when the pending deadline passes. */
export interface Waiting {
  readonly is: 'waiting';
  readonly reason: string;
  readonly message: string;
  readonly stuck?: Category;
  /** When this wait began, if later than the attempt: the agent's own work is no waiting. */
  readonly since?: string | undefined;
  /** Look again after this time: something short is going on that may become worth a word. */
  readonly recheckMs?: number;
}

/** Steps shorter than this are not reported: each report is a write of the whole task. */
export const WORTH_A_WORD_MS = 4000;

const IMAGE_PROBLEM =
  /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable)$/;
const CONFIG_PROBLEM =
  /^(CreateContainerConfigError|CreateContainerError|RunContainerError|CreatePodSandboxError)$/;

const STARTING = 'The pod is being started';

/** Reads a suspended Job: its queue has not let it run yet, or has stopped it. `said` is what the queue told about it. */
export function waitingForQueue({ queue, metadata }: JobView, said: string | undefined): Waiting {
  if (queue === undefined)
    return waiting('Queued', 'The Job was suspended from outside; it goes on when its spec.suspend is false');
  const seek = `; if this lasts, see that it exists and is active (kubectl get localqueues -n ${metadata.namespace})`;
  return waiting('Queued', `Waiting for LocalQueue "${queue}"${said === undefined ? seek : `: ${said}`}`);
}

/** Reads a Job that its queue lets run again, while the pod that it stopped has not ended. */
export function waitingForLastPod({ metadata }: PodView): Waiting {
  return waiting(
    'Starting',
    `The next pod starts when pod ${metadata.name}, which the queue stopped, has ended`,
  );
}

/** Reads a Job that has no pod yet. */
export function waitingForPod({ managedBy }: JobView, problem: string | undefined): Waiting {
  if (managedBy) return waiting('Queued', `${managedBy} has not started the Job yet`);
  if (problem === undefined) return waiting('Starting', STARTING);
  const quota = problem.includes('exceeded quota');
  return {
    ...waiting(quota ? 'QuotaExceeded' : 'PodRefused', `The pod cannot be created: ${steady(problem)}`),
    stuck: quota ? 'QuotaExceeded' : 'ConfigError',
  };
}

/** Without what changes from one try of the Job controller to the next: each change would be another status to write. */
function steady(problem: string): string {
  return problem
    .replace('(combined from similar events): ', '')
    .replace('Error creating: ', '')
    .replace(/\bpods "[^"]*"/, 'it');
}

/** Reads a pod whose model does not run yet. */
export function waitingForModel(pod: PodView, now: Date): Waiting {
  const scheduled = pod.conditions.find((c) => c.type === 'PodScheduled');
  if (scheduled?.status === 'False') return unschedulable(scheduled);
  const blocked = pod.containers.find((c) => isProblem(c.state?.waiting?.reason));
  if (blocked) return forContainer(blocked.name, blocked.state?.waiting);
  const prepare = pod.containers.find((c) => c.name === CONTAINER.prepare)?.state;
  if (prepare?.running) return preparing(prepare.running.startedAt, now);
  return { ...waiting('Starting', STARTING), since: prepare?.terminated?.finishedAt ?? undefined };
}

/** What the scheduler says of a claim that no pod can use yet; it has nothing to do with the nodes. */
const CLAIM_PROBLEM =
  /unbound immediate PersistentVolumeClaims|persistentvolumeclaim "[^"]*" (not found|is being deleted|bound to non-existent)|available persistent volumes to bind/;

function unschedulable({ message, reason }: JobCondition): Waiting {
  if (message !== undefined && CLAIM_PROBLEM.test(message)) {
    const said = `The store's claim cannot be used yet: ${message}`;
    return { ...waiting('VolumeNotReady', said), stuck: 'VolumeNotReady' };
  }
  return { ...waiting('Unschedulable', `No node fits: ${message ?? reason ?? ''}`), stuck: 'Unschedulable' };
}

function preparing(startedAt: string | undefined, now: Date): Waiting {
  const shortMs = WORTH_A_WORD_MS - (now.getTime() - Date.parse(startedAt ?? now.toISOString()));
  if (shortMs > 0) return { ...waiting('Starting', STARTING), since: now.toISOString(), recheckMs: shortMs };
  return { ...waiting('Preparing', 'The dataset is being checked'), since: now.toISOString() };
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
