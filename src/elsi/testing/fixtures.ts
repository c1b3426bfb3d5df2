import { ANNOTATION, FINALIZER, LABEL, ORIGIN_ELSI } from '../../api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../api/objects.ts';
import type { TaskSpecInput, TaskStatus } from '../../api/task.ts';
import type { World } from '../plan.ts';
import { runName, type RunSettings } from '../run.ts';
import type { ElsiTask } from '../wire.ts';

/** Fixtures that read as sentences. */

export const UID = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
export const DATASET_UID = 'd34200f0-8b2c-4a6f-9a53-1f0b52a4c9d1';

export const SETTINGS: RunSettings = {
  namespace: 'elsi',
  models: {
    vtc: 'vtc-1-0',
    vtc_2: 'vtc-2-0',
    alice: 'alice-1-0',
    acoustics: 'acoustics-1-0',
    w2v2: 'w2v2-1-0',
  },
  datasetPath: '{uuid}',
  priority: 'Normal',
};

export function listed(change: Partial<ElsiTask> = {}): ElsiTask {
  const usual: ElsiTask = {
    uid: UID,
    model: 'vtc',
    status: 'PENDING',
    datasetLabel: `corpus_${DATASET_UID}`,
    user: undefined,
  };
  return { ...usual, ...change };
}

export interface RunChange {
  readonly run?: number;
  readonly status?: TaskStatus;
  readonly acknowledged?: boolean;
  readonly desired?: TaskSpecInput['desired'];
  readonly deleted?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** An AnalysisTask as the sync made it. */
export function aRun(change: RunChange = {}): AnalysisTask {
  const {
    run = 1,
    status,
    acknowledged = false,
    desired = 'Run',
    deleted = false,
    annotations = {},
  } = change;
  return analysisTask.parse({
    apiVersion: 'analysis.elsi.dev/v1alpha1',
    kind: 'AnalysisTask',
    metadata: {
      name: runName(UID, run),
      namespace: 'elsi',
      uid: `cr-${run}`,
      resourceVersion: '7',
      creationTimestamp: '2026-03-01T10:00:00Z',
      labels: { [LABEL.origin]: ORIGIN_ELSI, [LABEL.elsiTask]: UID },
      annotations: {
        [ANNOTATION.elsiDataset]: `corpus_${DATASET_UID}`,
        [ANNOTATION.elsiModel]: 'vtc',
        ...annotations,
      },
      ...(acknowledged ? {} : { finalizers: [FINALIZER.elsi] }),
      ...(deleted ? { deletionTimestamp: '2026-03-01T11:00:00Z' } : {}),
    },
    spec: { model: 'vtc-1-0', dataset: { path: DATASET_UID }, outputName: UID, desired },
    ...(status ? { status } : {}),
  });
}

const condition = (status: 'True' | 'False') => ({
  type: 'Succeeded',
  status,
  reason: 'Published',
  message: '',
  lastTransitionTime: '2026-03-01T11:00:00Z',
});

export const waiting: TaskStatus = { phase: 'Pending', reason: 'Unschedulable' };
export const running: TaskStatus = { phase: 'Running', reason: 'Running', startedAt: '2026-03-01T10:30:00Z' };
/** It has just begun, and what was learnt about its model says when it will end. */
export const estimated: TaskStatus = {
  ...running,
  progress: {
    unitsDone: 0,
    unitsTotal: 9,
    unitsFailed: 0,
    percent: 0,
    summary: '0/9',
    estimatedCompletion: '2026-03-01T10:40:00Z',
  },
};
export const retrying: TaskStatus = { ...running, phase: 'Pending', reason: 'Retrying' };
export const succeeded: TaskStatus = {
  ...running,
  phase: 'Succeeded',
  finishedAt: '2026-03-01T11:00:00Z',
  conditions: [condition('True')],
};
export const partial: TaskStatus = { ...succeeded, phase: 'PartiallySucceeded' };
export const partialFailure: TaskStatus = { ...partial, conditions: [condition('False')] };
export const failed: TaskStatus = { ...succeeded, phase: 'Failed', conditions: [condition('False')] };
export const cancelled: TaskStatus = { ...failed, phase: 'Cancelled' };

export function aWorld(
  tasks: readonly ElsiTask[],
  runs: readonly AnalysisTask[],
  change: Partial<World> = {},
): World {
  return {
    listed: { tasks: new Map(tasks.map((task) => [task.uid, task])), bad: [] },
    runs,
    missing: new Set(),
    settings: SETTINGS,
    policies: { dropped: 'Ignore', changed: 'Ignore', orphanedRunning: 'Ignore' },
    ...change,
  };
}
