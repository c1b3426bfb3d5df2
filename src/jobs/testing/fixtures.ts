import type { CONTAINER } from '../../api/keys.ts';
import type { AgentReport } from '../../api/request.ts';
import { modelSpec, type ModelSpecInput } from '../../api/model.ts';
import type { AnalysisModel, AnalysisTask } from '../../api/objects.ts';
import { taskSpec, type TaskSpecInput, type TaskStatus } from '../../api/task.ts';
import type { JobDefaults } from '../defaults.ts';
import { jobName } from '../names.ts';
import type { ContainerState, JobCondition, JobView, PodView } from '../views.ts';

/** Fixtures that read as sentences. */

export const NOW = new Date('2026-03-01T12:00:00.000Z');
const CREATED = '2026-03-01T11:59:00Z';
export const IDENTITY = 'operator-1';

export const DEFAULTS: JobDefaults = {
  agentImage: 'example.org/analysis-operator@sha256:aa',
  imagePullPolicy: 'IfNotPresent',
  claimName: 'datasets',
  runAsUser: 1000,
  runAsGroup: 1000,
  priorityClasses: { Low: 'analysis-low', Normal: '', High: 'analysis-high' },
  operatorVersion: '0.1.0',
};

export function aModel(spec: Partial<ModelSpecInput> = {}, uid = 'model-uid'): AnalysisModel {
  return {
    apiVersion: 'analysis.elsi.dev/v1alpha1',
    kind: 'AnalysisModel',
    metadata: { name: 'vad-1-0', uid, resourceVersion: '7', creationTimestamp: CREATED },
    spec: modelSpec.parse({
      version: '1.0',
      image: `example.org/vad@sha256:${'0'.repeat(64)}`,
      run: { per: 'File', command: ['vad', '{input}', '{output}'] },
      outputs: [{ path: 'raw/{rel}.rttm' }],
      ...spec,
    }),
  };
}

export function aTask(spec: Partial<TaskSpecInput> = {}, status?: TaskStatus): AnalysisTask {
  return {
    apiVersion: 'analysis.elsi.dev/v1alpha1',
    kind: 'AnalysisTask',
    metadata: {
      name: 'night-1',
      namespace: 'lab',
      uid: 'task-uid',
      resourceVersion: '11',
      generation: 1,
      creationTimestamp: CREATED,
    },
    spec: taskSpec.parse({ model: 'vad-1-0', dataset: { path: 'corpus' }, ...spec }),
    ...(status ? { status } : {}),
  };
}

/** The status of a task whose attempt was claimed a while ago. */
export function claimed(more: Partial<TaskStatus> = {}, number = 1): TaskStatus {
  return {
    phase: 'Pending',
    reason: 'Starting',
    message: 'Attempt 1 is being started',
    attempt: {
      number,
      jobName: jobName({ name: 'night-1', uid: 'task-uid' }, number),
      jobUID: `job-uid-${number}`,
      claimedBy: IDENTITY,
      claimedAt: '2026-03-01T11:59:10.000Z',
    },
    model: { uid: 'model-uid', image: 'example.org/vad' },
    ...more,
  };
}

export function aJob(
  verdict: 'unfinished' | 'Complete' | 'Failed' = 'unfinished',
  more: Partial<JobView> = {},
): JobView {
  const attempt = more.attempt ?? 1;
  const conditions: JobCondition[] =
    verdict === 'unfinished'
      ? []
      : [{ type: verdict, status: 'True', message: more.conditions?.[0]?.message ?? '' }];
  return {
    metadata: {
      name: jobName({ name: 'night-1', uid: 'task-uid' }, attempt),
      namespace: 'lab',
      uid: `job-uid-${attempt}`,
      resourceVersion: '20',
      creationTimestamp: '2026-03-01T11:59:58Z',
    },
    ownerUid: 'task-uid',
    taskUid: 'task-uid',
    taskName: 'night-1',
    attempt,
    suspended: false,
    managedBy: undefined,
    queue: undefined,
    startedAt: undefined,
    ...more,
    conditions,
  };
}

type States = Partial<Record<keyof typeof CONTAINER, ContainerState>>;

export function aPod(states: States = {}, more: Partial<PodView> = {}): PodView {
  return {
    metadata: {
      name: 'night-1-x',
      namespace: 'lab',
      uid: 'pod-uid',
      resourceVersion: '30',
      creationTimestamp: CREATED,
    },
    ownerUid: 'job-uid-1',
    taskUid: 'task-uid',
    phase: 'Pending',
    reason: undefined,
    message: undefined,
    node: 'gpu-1',
    ip: '10.0.0.9',
    deletionGraceSeconds: undefined,
    jobName: jobName({ name: 'night-1', uid: 'task-uid' }, 1),
    conditions: [{ type: 'PodScheduled', status: 'True' }],
    containers: Object.entries(states).map(([name, state]) => ({ name, state })),
    ...more,
  };
}

export const runningState: ContainerState = { running: { startedAt: CREATED } };

export function ended(exitCode: number, more: { reason?: string; message?: string } = {}): ContainerState {
  return { terminated: { exitCode, startedAt: CREATED, ...more } };
}

export function reporting(exitCode: number, report: Partial<AgentReport>): ContainerState {
  return ended(exitCode, { message: JSON.stringify({ v: 1, message: 'what happened', ...report }) });
}
