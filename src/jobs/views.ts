import { z } from 'zod';
import { ANNOTATION, LABEL } from '../api/keys.ts';

/*
 * Lean views of Jobs and pods: what decisions need and nothing else. The informers keep these instead of whole
 * objects, which costs a tenth of the memory.
 */

const condition = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
  lastTransitionTime: z.string().optional(),
});

const owner = z.object({
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
});

const metadata = z.object({
  name: z.string(),
  namespace: z.string(),
  uid: z.string(),
  resourceVersion: z.string(),
  creationTimestamp: z.string(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.number().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  ownerReferences: z.array(owner).optional(),
});

const rawJob = z.object({
  metadata,
  spec: z.object({ suspend: z.boolean().default(false), managedBy: z.string().optional() }),
  status: z
    .object({
      conditions: z.array(condition).default([]),
      startTime: z.string().optional(),
    })
    .prefault({}),
});

const containerState = z.object({
  waiting: z.object({ reason: z.string().optional(), message: z.string().optional() }).optional(),
  running: z.object({ startedAt: z.string().optional() }).optional(),
  terminated: z
    .object({
      exitCode: z.number(),
      signal: z.number().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      startedAt: z.string().nullish(),
      finishedAt: z.string().nullish(),
    })
    .optional(),
});

const containerStatus = z.object({
  name: z.string(),
  state: containerState.optional(),
  imageID: z.string().optional(),
  restartCount: z.number().optional(),
});

const rawPod = z.object({
  metadata,
  spec: z.object({ nodeName: z.string().optional() }),
  status: z
    .object({
      phase: z.string().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      podIP: z.string().optional(),
      conditions: z.array(condition).optional(),
      initContainerStatuses: z.array(containerStatus).optional(),
      containerStatuses: z.array(containerStatus).optional(),
    })
    .prefault({}),
});

export type JobCondition = z.infer<typeof condition>;
export type ContainerState = z.infer<typeof containerState>;
export type ContainerView = z.infer<typeof containerStatus>;

interface ObjectView {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
  };
  /** UID of the controlling owner. */
  readonly ownerUid: string | undefined;
  /** UID of the task, from the label; a hint for indexes, ownership is decided by ownerUid. */
  readonly taskUid: string | undefined;
}

export interface JobView extends ObjectView {
  /** The task that owns it or, once nothing owns it any more, the one that it was made for. */
  readonly taskName: string | undefined;
  readonly attempt: number | undefined;
  /** Its queue holds it, or has let it go a moment ago and the Job controller has not begun yet. */
  readonly suspended: boolean;
  /** Controller in charge of it, when that is not the cluster's own. */
  readonly managedBy: string | undefined;
  /** The Kueue LocalQueue that decides when the Job runs. */
  readonly queue: string | undefined;
  /** When it began, or began again after a suspension. */
  readonly startedAt: string | undefined;
  readonly conditions: readonly JobCondition[];
}

export interface PodView extends ObjectView {
  readonly phase: string;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly node: string | undefined;
  readonly ip: string | undefined;
  readonly deletionGraceSeconds: number | undefined;
  /** Name of the Job that made it: its owner's, or the Job controller's own label once nothing owns the pod any more. */
  readonly jobName: string | undefined;
  readonly conditions: readonly JobCondition[];
  readonly containers: readonly ContainerView[];
}

const OWN_CONTROLLER = 'kubernetes.io/job-controller';

/** Parses a Job as the API server sent it. Throws a ZodError on anything else. */
export function jobView(raw: unknown): JobView {
  const { metadata: meta, spec, status } = rawJob.parse(raw);
  return {
    ...objectView(meta),
    taskName: controllerOf(meta)?.name ?? meta.annotations?.[ANNOTATION.task],
    attempt: attemptOf(meta),
    suspended: spec.suspend,
    managedBy: spec.managedBy === OWN_CONTROLLER ? undefined : spec.managedBy,
    queue: meta.labels?.[LABEL.kueueQueue],
    startedAt: status.startTime,
    conditions: status.conditions,
  };
}

function attemptOf({ annotations }: z.infer<typeof metadata>): number | undefined {
  const attempt = Number(annotations?.[ANNOTATION.attempt]);
  return Number.isInteger(attempt) && attempt > 0 ? attempt : undefined;
}

/** Parses a pod as the API server sent it. Throws a ZodError on anything else. */
export function podView(raw: unknown): PodView {
  const { metadata: meta, spec, status } = rawPod.parse(raw);
  const { phase = 'Pending', conditions = [], initContainerStatuses = [], containerStatuses = [] } = status;
  return {
    ...objectView(meta),
    phase,
    reason: status.reason,
    message: status.message,
    node: spec.nodeName,
    ip: status.podIP,
    deletionGraceSeconds: meta.deletionGracePeriodSeconds,
    jobName: jobNameOf(meta),
    conditions,
    containers: [...initContainerStatuses, ...containerStatuses],
  };
}

const JOB_NAME_LABEL = 'batch.kubernetes.io/job-name';

function jobNameOf(meta: z.infer<typeof metadata>): string | undefined {
  const controller = controllerOf(meta);
  if (!controller) return meta.labels?.[JOB_NAME_LABEL];
  return controller.kind === 'Job' ? controller.name : undefined;
}

function controllerOf(meta: z.infer<typeof metadata>): z.infer<typeof owner> | undefined {
  return meta.ownerReferences?.find(({ controller }) => controller);
}

function objectView(meta: z.infer<typeof metadata>): ObjectView {
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp } = meta;
  return {
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion,
      creationTimestamp,
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
    ownerUid: controllerOf(meta)?.uid,
    taskUid: meta.labels?.[LABEL.taskUid],
  };
}

/** A Job's conditions, read in one place. `SuccessCriteriaMet` and `FailureTarget` are not final: pods may still run. */
export function jobVerdict(job: JobView): 'unfinished' | 'complete' | 'failed' {
  if (holds(job.conditions, 'Complete')) return 'complete';
  return holds(job.conditions, 'Failed') ? 'failed' : 'unfinished';
}

export function holds(conditions: readonly JobCondition[], type: string): boolean {
  return conditions.some((c) => c.type === type && c.status === 'True');
}

/** Milliseconds since a deleted pod's grace ended (negative before that); undefined for a pod that ended or that nobody deleted. */
export function overdueMs(pod: PodView, now: Date): number | undefined {
  const { deletionTimestamp } = pod.metadata; // the API server adds the grace to it
  return deletionTimestamp && isAlive(pod) ? now.getTime() - Date.parse(deletionTimestamp) : undefined;
}

/** Whether the pod may still be running containers somewhere. */
export function isAlive(pod: PodView): boolean {
  return pod.phase !== 'Succeeded' && pod.phase !== 'Failed';
}
