import type { ModelSpecInput } from '../../../api/model.ts';
import type { AnalysisTask } from '../../../api/objects.ts';
import type { TaskSpecInput, TaskStatus } from '../../../api/task.ts';
import { aModel, aTask, claimed } from '../../../jobs/testing/fixtures.ts';
import type { Observed } from '../observed.ts';
import { agoTask, type Rows } from './rows.ts';
import { seen } from './seen.ts';

const RETRY = { retryOf: 'night-0' } as const;
const FACTS = { uid: 'earlier-uid', identity: 'earlier-uid', outputName: 'night-0', manifestSha256: 'ab' };

const PARTIAL = {
  phase: 'PartiallySucceeded',
  model: { uid: 'model-uid', image: 'example.org/vad' },
  result: { path: 'corpus/outputs/night-0', manifestSha256: 'ab' },
} as const;

/** The task that is retried, as the API server shows it. */
export function earlierTask(status: TaskStatus = PARTIAL, spec: Partial<TaskSpecInput> = {}): AnalysisTask {
  const task = aTask(spec, status);
  return { ...task, metadata: { ...task.metadata, name: 'night-0', uid: 'earlier-uid' } };
}

/** A task with retryOf; `earlier` was read. */
function retrying(
  earlier: AnalysisTask | undefined,
  given: Partial<Observed> = {},
  spec: Partial<TaskSpecInput> = {},
): Observed {
  return seen({ task: aTask({ ...RETRY, ...spec }), retried: { task: earlier }, ...given });
}

const parameters: ModelSpecInput['parameters'] = [
  { name: 'threshold', type: 'Number', default: '0.5' },
  { name: 'batch', type: 'Integer', default: '8', affectsOutput: false },
];
const tunable = { ok: true, model: aModel({ parameters }) } as const;
const whole = { per: 'Dataset' as const, command: ['vad', '{inputDir}', '{outputDir}'] };
const refused = { does: [], phase: 'Failed', reason: 'InvalidInput', settled: true } as const;
const goes = { does: ['claim and create'], phase: 'Pending', reason: 'Starting' } as const;
const NO_CLAIM = 'PersistentVolumeClaim "datasets" does not exist';

/** What retryOf asks for, and when it is refused. */
export const retriedRows: Rows = {
  'reads the task that is retried, live, before anything else is decided': {
    given: seen({ task: aTask(RETRY) }),
    does: ['read retried'],
  },
  'starts a retry of a task that published a part, and keeps what is needed of it': {
    given: retrying(earlierTask()),
    ...goes,
    message: /as a retry of task night-0/,
    status: { retryOf: FACTS },
  },
  'starts a retry of a failed task, whose units may stand in its staging': {
    given: retrying(earlierTask({ phase: 'Failed', model: PARTIAL.model })),
    ...goes,
    status: { retryOf: { uid: 'earlier-uid', identity: 'earlier-uid' } },
  },
  'starts a retry of a cancelled task that never ran': {
    given: retrying(earlierTask({ phase: 'Cancelled' })),
    ...goes,
  },
  'starts a retry of a task that succeeded: recordings may have come since': {
    given: retrying(earlierTask({ ...PARTIAL, phase: 'Succeeded' })),
    ...goes,
    status: { retryOf: FACTS },
  },
  'waits while the task that is retried has not ended': {
    given: retrying(earlierTask({ ...PARTIAL, phase: 'Running' })),
    does: [],
    phase: 'Pending',
    reason: 'RetriedTaskNotEnded',
    message: /retryOf names task "night-0", which has not ended \(Running\)/,
  },
  'gives up when that takes longer than the pending deadline': {
    given: retrying(earlierTask({ phase: 'Running' }), { task: agoTask(90000, RETRY) }),
    phase: 'Failed',
    reason: 'RetriedTaskNotEnded',
    message: /waited 86400 s/,
  },
  'refuses a task that does not exist': {
    given: retrying(undefined),
    ...refused,
    message: /retryOf names task "night-0", which does not exist in namespace "lab": see kubectl get/,
  },
  'refuses to retry itself, without a read': {
    given: seen({ task: aTask({ retryOf: 'night-1' }) }),
    ...refused,
    message: /retryOf is "night-1", the task itself/,
  },
  'refuses a model of the whole dataset, without a read': {
    given: seen({ task: aTask(RETRY), model: { ok: true, model: aModel({ run: whole }) } }),
    ...refused,
    message: /analyses the dataset in one run/,
  },
  'refuses another model and dataset at once, naming both values, even before that task has ended': {
    given: retrying(earlierTask({ phase: 'Running' }, { model: 'vtc-2-0', dataset: { path: 'other' } })),
    ...refused,
    message:
      /model is "vad-1-0" here and "vtc-2-0" there: .*dataset\.path is "corpus" here and "other" there/,
  },
  'refuses other values of parameters on which results depend, defaults included': {
    given: retrying(earlierTask(PARTIAL, { parameters: { threshold: '0.7' } }), { model: tunable }),
    ...refused,
    message: /parameters\.threshold is "0\.5" here and "0\.7" there/,
  },
  'takes other values of parameters on which no result depends': {
    given: retrying(earlierTask(PARTIAL, { parameters: { batch: '64', threshold: '0.5' } }), {
      model: tunable,
    }),
    ...goes,
  },
  'takes another directory of the dataset: units are told apart one by one': {
    given: retrying(earlierTask(PARTIAL, { dataset: { path: 'corpus', directory: 'child 1' } })),
    ...goes,
  },
  'refuses a model that was replaced under the same name since': {
    given: retrying(earlierTask({ ...PARTIAL, model: { uid: 'older', image: 'x' } })),
    ...refused,
    message: /"vad-1-0" was replaced/,
  },
  'refuses the place where the other one has published': {
    given: retrying(earlierTask(), {}, { outputName: 'night-0' }),
    ...refused,
    message: /outputName is "night-0", where task "night-0" has published: choose another/,
  },
  'keeps what is needed while it waits for the volume': {
    given: retrying(earlierTask(), { storeProblem: NO_CLAIM }),
    phase: 'Pending',
    reason: 'VolumeNotReady',
    status: { retryOf: FACTS },
  },
  'goes on after that wait when the retried task is gone': {
    given: retrying(undefined, {
      task: aTask(RETRY, { phase: 'Pending', reason: 'VolumeNotReady', retryOf: FACTS }),
    }),
    ...goes,
    status: { retryOf: FACTS },
  },
  'starts a further attempt without reading the retried task again': {
    given: seen({
      task: aTask(RETRY, claimed({ retryOf: FACTS, nextAttemptAt: '2026-03-01T11:00:00.000Z' })),
      live: true,
    }),
    ...goes,
    status: { retryOf: FACTS },
  },
};
