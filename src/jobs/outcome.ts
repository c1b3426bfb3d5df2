import { CONTAINER } from '../api/keys.ts';
import { type AgentReport, agentReport, EXIT } from '../api/request.ts';
import type { ModelSpec } from '../api/model.ts';
import { truncate } from '../lib/truncate.ts';
import type { Category } from './categories.ts';
import {
  type ContainerState,
  type ContainerView,
  type JobView,
  jobVerdict,
  overdueMs,
  type PodView,
} from './views.ts';
import {
  type Waiting,
  waitingForLastPod,
  waitingForModel,
  waitingForPod,
  waitingForQueue,
  WORTH_A_WORD_MS,
} from './waiting.ts';

/** What a Job and its pods say about the attempt. Nothing else interprets their status. */
export type Outcome =
  | Waiting
  | {
      readonly is: 'running';
      readonly reason: string;
      readonly message: string;
      readonly pod: PodView;
      readonly startedAt: string | undefined;
      readonly recheckMs?: number;
      /** The last container has ended too: the Job's verdict is a moment away. */
      readonly isEnding?: boolean;
    }
  /** The pod hangs: it can neither go on nor end by itself, so somebody has to end it. */
  | { readonly is: 'doomed'; readonly category: Category; readonly message: string }
  | { readonly is: 'succeeded'; readonly report: AgentReport | undefined; readonly pod: PodView | undefined }
  | {
      readonly is: 'failed';
      readonly category: Category;
      readonly message: string;
      readonly report?: AgentReport;
    };

export interface Evidence {
  readonly job: JobView;
  /** Pods that this Job controls. */
  readonly pods: readonly PodView[];
  readonly exitCodes: ModelSpec['failure']['exitCodes'];
  /** Why there is no pod, from the events of the Job controller or the queue; read only when no pod shows up. */
  readonly noPodBecause?: string | undefined;
  /** By how much a deleted pod may outlive its grace before its node counts as lost. */
  readonly nodeLostAfterMs: number;
  readonly now: Date;
}

/** Pod reasons with which kubelet refuses or removes a pod that did nothing wrong. */
const KUBELET_REFUSALS =
  /^(Evicted|NodeLost|NodeShutdown|Terminated|Shutdown|Preempting|UnexpectedAdmissionError|NodeAffinity|TopologyAffinityError|OutOf.*|Outof.*)$/;

export function outcomeOf(evidence: Evidence): Outcome {
  const pod = newest(evidence.pods);
  switch (jobVerdict(evidence.job)) {
    case 'complete':
      return { is: 'succeeded', report: pod && reportOf(pod, CONTAINER.publish), pod };
    case 'failed':
      return failure(evidence, pod);
    case 'unfinished':
      return unfinished(evidence, pod);
  }
}

function unfinished(evidence: Evidence, pod: PodView | undefined): Outcome {
  const { job, noPodBecause } = evidence;
  // Whatever its pod still does: the queue has stopped it, and the next one comes when the queue says so.
  if (job.suspended) return waitingForQueue(job, noPodBecause);
  if (!pod) return waitingForPod(job, noPodBecause);
  const outcome = progressOf(pod, evidence);
  const isLost = outcome.is === 'running' && outcome.reason === 'NodeLost';
  return isFromBefore(job, pod) && !isLost ? waitingForLastPod(pod) : outcome;
}

/** A pod that was told to stop before the Job was let run again. */
function isFromBefore({ startedAt }: JobView, { metadata }: PodView): boolean {
  if (!metadata.deletionTimestamp || !startedAt) return false;
  return Date.parse(metadata.creationTimestamp) < Date.parse(startedAt);
}

function newest(pods: readonly PodView[]): PodView | undefined {
  return pods.reduce<PodView | undefined>(
    (best, pod) => (!best || pod.metadata.creationTimestamp >= best.metadata.creationTimestamp ? pod : best),
    undefined,
  );
}

function progressOf(pod: PodView, { now, nodeLostAfterMs }: Evidence): Outcome {
  const model = stateOf(pod, CONTAINER.model);
  if (model?.terminated?.reason === 'OOMKilled') return { is: 'doomed', ...OUT_OF_MEMORY };
  const graceLeftMs = nodeLostAfterMs - (overdueMs(pod, now) ?? Number.NEGATIVE_INFINITY);
  const seen = { is: 'running', pod, startedAt: startOf(model) } as const;
  if (graceLeftMs <= 0) return { ...seen, reason: 'NodeLost', message: forgotten(pod) };
  if (!model?.terminated && !model?.running) return lookAgain(waitingForModel(pod, now), graceLeftMs);
  const message = `The model is running on node ${pod.node ?? 'unknown'}`;
  const running = { ...seen, reason: 'Running', message };
  return lookAgain(
    model.terminated ? afterModel(running, model.terminated.finishedAt, now) : running,
    graceLeftMs,
  );
}

/** A lost node sends no event: somebody has to look. */
function lookAgain<T extends Running | Waiting>(outcome: T, graceLeftMs: number): T {
  const recheckMs = Math.min(outcome.recheckMs ?? Number.POSITIVE_INFINITY, graceLeftMs);
  return Number.isFinite(recheckMs) ? { ...outcome, recheckMs } : outcome;
}

/** A pod that was told to stop and, well past its grace, has not: its node is gone or cut off. */
export function forgotten({ node = 'unknown', metadata }: PodView): string {
  return `Node ${node} does not confirm that pod ${metadata.name} stopped; bring the node back, or once it is surely off taint it with node.kubernetes.io/out-of-service or delete it`;
}

type Running = Extract<Outcome, { is: 'running' }>;

/** Publishing is worth a word only when it takes a while and has not ended. */
function afterModel(running: Running, modelEndedAt: string | null | undefined, now: Date): Running {
  const shortMs = WORTH_A_WORD_MS - ageOf(modelEndedAt, now);
  if (shortMs > 0) return { ...running, recheckMs: shortMs };
  if (stateOf(running.pod, CONTAINER.publish)?.terminated) return { ...running, isEnding: true };
  const message = 'The model ended; its outputs are being verified and published';
  return { ...running, reason: 'Publishing', message };
}

/** Milliseconds since an event; unknown counts as long ago. */
function ageOf(at: string | null | undefined, now: Date): number {
  return at ? now.getTime() - Date.parse(at) : Number.POSITIVE_INFINITY;
}

function startOf(state: ContainerState | undefined): string | undefined {
  return state?.running?.startedAt ?? state?.terminated?.startedAt ?? undefined;
}

/** Most trustworthy evidence first; the first that applies decides. */
function failure(evidence: Evidence, pod: PodView | undefined): Outcome {
  const jobMessage = failedCondition(evidence.job)?.message ?? 'the Job failed';
  if (!pod) return withoutPod(jobMessage);
  if (hasPublished(pod)) return { is: 'succeeded', report: reportOf(pod, CONTAINER.publish), pod };
  return (
    fromAgent(pod, CONTAINER.publish) ??
    fromAgent(pod, CONTAINER.prepare) ??
    fromDisruption(pod) ??
    fromDeadline(pod, evidence.job) ??
    fromDeletion(pod) ??
    fromModel(pod, evidence.exitCodes) ??
    fromCrashedAgent(pod) ?? {
      is: 'failed',
      category: 'Lost',
      message: `The pod ended without a verdict: ${truncate(jobMessage, 300)}`,
    }
  );
}

function failedCondition(job: JobView) {
  return job.conditions.find((c) => c.type === 'Failed' && c.status === 'True');
}

/** What a pod of the attempt published, or found published already, whatever becomes of its Job. */
export function publishedBy(pods: readonly PodView[]): Outcome | undefined {
  const pod = pods.find(
    (p) =>
      p.phase === 'Succeeded' ||
      (p.phase === 'Failed' && hasPublished(p)) ||
      stateOf(p, CONTAINER.prepare)?.terminated?.exitCode === EXIT.alreadyPublished,
  );
  return pod && { is: 'succeeded', report: reportOf(pod, CONTAINER.publish), pod };
}

/**
 * publish has ended well, or was killed after it had reported a result: that stands, although the pod counts as failed
 * because somebody deleted it or its deadline passed meanwhile.
 */
function hasPublished(pod: PodView): boolean {
  const publish = stateOf(pod, CONTAINER.publish)?.terminated;
  return publish?.exitCode === EXIT.ok || reportOf(pod, CONTAINER.publish)?.result !== undefined;
}

/** The pod is gone; the podFailurePolicy left its verdict in the Job's condition. */
function withoutPod(jobMessage: string): Outcome {
  const code = /exit code (\d+)/.exec(jobMessage)?.[1];
  if (code === String(EXIT.alreadyPublished)) return { is: 'succeeded', report: undefined, pod: undefined };
  if (code)
    return { is: 'failed', category: categoryOfAgentCode(Number(code)), message: truncate(jobMessage, 400) };
  const disrupted = jobMessage.includes('DisruptionTarget');
  const message = disrupted
    ? `The pod was disrupted: ${jobMessage}`
    : 'The pod was deleted from outside before it could report';
  return { is: 'failed', category: disrupted ? 'Disrupted' : 'Lost', message: truncate(message, 400) };
}

function categoryOfAgentCode(code: number): Category {
  if (code === EXIT.invalidInput) return 'InvalidInput';
  if (code === EXIT.missingOutput) return 'MissingOutput';
  if (code === EXIT.storage) return 'Storage';
  return code === EXIT.outputConflict ? 'OutputConflict' : 'AgentError';
}

/** prepare or publish ended with one of its own codes and, unless it was killed while writing, with a report. */
function fromAgent(pod: PodView, container: string): Outcome | undefined {
  const ended = stateOf(pod, container)?.terminated;
  if (!ended || !isVerdict(ended.exitCode)) return undefined;
  const report = reportOf(pod, container);
  if (ended.exitCode === EXIT.alreadyPublished) return { is: 'succeeded', report, pod };
  const category = report?.category ?? categoryOfAgentCode(ended.exitCode);
  const message = report?.message ?? `${container} ended with exit code ${ended.exitCode} and no report`;
  return { is: 'failed', category, message, ...(report ? { report } : {}) };
}

function isVerdict(code: number): boolean {
  return code !== EXIT.ok && (Object.values(EXIT) as number[]).includes(code);
}

function fromDisruption(pod: PodView): Outcome | undefined {
  const target = pod.conditions.find((c) => c.type === 'DisruptionTarget' && c.status === 'True');
  if (target) {
    return {
      is: 'failed',
      category: 'Disrupted',
      message: truncate(
        `The pod was taken away (${target.reason ?? 'disruption'}): ${target.message ?? ''}`,
        400,
      ),
    };
  }
  if (!pod.reason || !KUBELET_REFUSALS.test(pod.reason)) return undefined;
  return {
    is: 'failed',
    category: 'Disrupted',
    message: truncate(
      `Node ${pod.node ?? ''} refused or removed the pod (${pod.reason}): ${pod.message ?? ''}`,
      400,
    ),
  };
}

function fromDeadline(pod: PodView, job: JobView): Outcome | undefined {
  const late = pod.reason === 'DeadlineExceeded' || failedCondition(job)?.reason === 'DeadlineExceeded';
  if (!late) return undefined;
  return {
    is: 'failed',
    category: 'DeadlineExceeded',
    message: 'The attempt ran longer than failure.runDeadlineSeconds of the model allows and was stopped',
  };
}

/** TERM, and KILL after the grace period: how a container ends whose pod was deleted. */
const STOPPED: readonly number[] = [143, 137];

/** Somebody deleted the pod, as nobody but the operator and its queue should: the model is not to blame. */
function fromDeletion(pod: PodView): Outcome | undefined {
  if (!pod.metadata.deletionTimestamp) return undefined;
  const { exitCode = 0, reason } = stateOf(pod, CONTAINER.model)?.terminated ?? {};
  const failedBefore = exitCode !== 0 && (reason === 'OOMKilled' || !STOPPED.includes(exitCode));
  if (failedBefore) return undefined;
  const message = `Pod ${pod.metadata.name} was deleted from outside while it ran`;
  return { is: 'failed', category: 'Lost', message };
}

/**
 * With cgroup v1 the kernel kills one process of the model and its shell may still exit with 0. kubelet then starts
 * nothing more, because it takes the container for failed, but never ends the pod, because the exit code is 0.
 */
const OUT_OF_MEMORY = {
  category: 'OutOfMemory',
  message:
    'The model was killed because it needed more memory than resources.memory of the AnalysisModel allows',
} as const;

/** Exit codes with which the runtime reports that the process was never started, or was killed. */
const KILLED = 137;

function fromModel(pod: PodView, exitCodes: Evidence['exitCodes']): Outcome | undefined {
  const ended = [CONTAINER.model, CONTAINER.seed]
    .map((name) => stateOf(pod, name)?.terminated)
    .find((terminated) => terminated && terminated.exitCode !== 0);
  if (!ended) return undefined;
  if (ended.reason === 'StartError' || ended.reason === 'ContainerCannotRun') {
    const message = truncate(`The model could not be started: ${lastLine(ended.message)}`, 400);
    return { is: 'failed', category: 'ConfigError', message };
  }
  if (ended.reason === 'OOMKilled' || ended.exitCode === KILLED) {
    return { is: 'failed', ...OUT_OF_MEMORY };
  }
  return fromExitCode(ended.exitCode, ended.message, exitCodes);
}

function fromExitCode(code: number, log: string | undefined, exitCodes: Evidence['exitCodes']): Outcome {
  const rule = exitCodes?.find((r) => r.code === code);
  if (!rule && log && GPU_OUT_OF_MEMORY.test(log)) return gpuOutOfMemory(code, log);
  const words = log ? `: ${lastLine(log)}` : '';
  const hint = rule?.hint ? `; ${rule.hint}` : '';
  const message = truncate(`The model ended with exit code ${code}${words}${hint}`, 400);
  return { is: 'failed', category: rule?.category ?? 'ModelError', message };
}

/** What the common frameworks print before they end with the exit code of any other error. */
const GPU_OUT_OF_MEMORY =
  /CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|HIP out of memory|failed to allocate memory.*(gpu|cuda)/i;

function gpuOutOfMemory(code: number, log: string): Outcome {
  const line = log.split('\n').find((text) => GPU_OUT_OF_MEMORY.test(text)) ?? '';
  const message = `The GPU ran out of memory (exit code ${code}): ${truncate(line.trim(), 240)}`;
  return { is: 'failed', category: 'OutOfMemory', message: truncate(message, 400) };
}

function fromCrashedAgent(pod: PodView): Outcome | undefined {
  for (const container of [CONTAINER.prepare, CONTAINER.publish]) {
    const ended = stateOf(pod, container)?.terminated;
    if (!ended || ended.exitCode === 0) continue;
    const how =
      ended.reason === 'OOMKilled' ? 'was killed for memory' : `ended with exit code ${ended.exitCode}`;
    return {
      is: 'failed',
      category: 'AgentError',
      message: truncate(`${container} ${how}: ${lastLine(ended.message)}`, 400),
    };
  }
  return undefined;
}

/** The last line with content: what a program says before it ends is usually the reason. */
function lastLine(text: string | undefined): string {
  const lines = (text ?? '').split('\n').map((line) => line.trim());
  return truncate(lines.findLast((line) => line !== '') ?? '', 240);
}

export function stateOf(pod: PodView, container: string): ContainerState | undefined {
  return pod.containers.find((c: ContainerView) => c.name === container)?.state;
}

/** The agent's termination message; undefined when there is none or it does not parse. */
export function reportOf(pod: PodView, container: string): AgentReport | undefined {
  const text = stateOf(pod, container)?.terminated?.message;
  if (!text) return undefined;
  try {
    return agentReport.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // cut or written by somebody else: the exit code still decides
  }
}

/** Digest of the image that the model really ran, once the runtime knows it. */
export function imageOf(pod: PodView): string | undefined {
  return pod.containers.find((c) => c.name === CONTAINER.model)?.imageID || undefined;
}
