import type { SurveyAnswer } from '../../../api/store.ts';
import { aJob, aModel, aTask, claimed } from '../../../jobs/testing/fixtures.ts';
import type { Observed } from '../observed.ts';
import { agoTask, type Rows, unrecorded, withStatus } from './rows.ts';
import { seen } from './seen.ts';

const answered = (answer: Partial<SurveyAnswer> = {}, recheckMs = 20_000): Observed['store'] => ({
  is: 'answered',
  answer: { v: 1, verdict: 'Ready', message: '2 recordings', ...answer },
  recheckMs,
});

const missing = answered({ verdict: 'RequirementsMissing', message: 'model x needs "vtc/*.csv"' });
const effort = { units: 100, unitsRefused: 0, inputs: 100, inputBytes: 1e9, audioSeconds: 36_000 };
const space = (freeBytes: number, totalBytes = 1e12) =>
  answered({ effort, space: { freeBytes, totalBytes } });
const shared = { per: 'Dataset' as const, command: ['vad', '{inputDir}', '{outputDir}'] };
const large = { ok: true, model: aModel({ outputBytes: { perUnit: 1e6, perAudioSecond: 1e6 } }) } as const;

/** What the store agent's answers mean. */
export const storeRows: Rows = {
  'asks the store agent before the first attempt': {
    given: seen({ store: undefined }),
    does: ['read store'],
  },
  'asks it before a further attempt too': {
    given: seen({
      store: undefined,
      task: withStatus(claimed({ nextAttemptAt: '2026-03-01T11:00:00.000Z' })),
    }),
    does: ['read store'],
  },
  'does not ask about what it would refuse anyway': {
    given: seen({ store: undefined, model: undefined }),
    does: [],
    reason: 'ModelNotFound',
  },
  'does not ask about an attempt that is claimed already': {
    given: seen({ store: undefined, live: true, task: withStatus(unrecorded()) }),
    does: ['claim and create'],
  },
  'does not ask about an attempt that runs': {
    given: seen({ store: undefined, task: withStatus(claimed()), jobs: [aJob()] }),
    does: [],
  },
  'waits for an answer that is on its way, and writes nothing': {
    given: seen({ store: { is: 'asked' } }),
    does: [],
  },
  'starts when nobody can be asked': {
    given: seen({ store: { is: 'unknown' } }),
    does: ['claim and create'],
  },
  'starts when the store has what the task needs': {
    given: seen({ store: answered() }),
    does: ['claim and create'],
  },
  'starts a task whose result is there: its pod says so without running the model': {
    given: seen({ store: answered({ verdict: 'Published' }) }),
    does: ['claim and create'],
  },
  'waits without a pod for an analysis that must come first': {
    given: seen({ store: missing }),
    does: [],
    phase: 'Pending',
    reason: 'RequirementsMissing',
    message: /needs "vtc\/\*\.csv"/,
  },
  'fails when that analysis did not come within the pending deadline': {
    given: seen({ store: missing, task: agoTask(90_000) }),
    does: [],
    phase: 'Failed',
    reason: 'RequirementsMissing',
    message: /86400 s/,
  },
  'starts a task that waited for another analysis once it is there': {
    given: seen({
      store: answered(),
      task: withStatus({ phase: 'Pending', reason: 'RequirementsMissing', message: 'x' }),
    }),
    does: ['claim and create'],
    reason: 'Starting',
  },
  'refuses a dataset that does not exist': {
    given: seen({
      store: answered({
        verdict: 'Refused',
        category: 'InvalidInput',
        message: 'dataset.path does not exist',
      }),
    }),
    does: [],
    phase: 'Failed',
    reason: 'InvalidInput',
    message: /does not exist/,
  },
  'refuses a task whose place of publication is taken': {
    given: seen({ store: answered({ verdict: 'Refused', category: 'OutputConflict', message: 'taken' }) }),
    does: [],
    phase: 'Failed',
    reason: 'OutputConflict',
  },
  'starts when the estimated outputs fit': {
    given: seen({ store: space(40e9), model: large }),
    does: ['claim and create'],
  },
  'waits for space when the estimated outputs do not fit': {
    given: seen({ store: space(30e9), model: large }),
    does: [],
    phase: 'Pending',
    reason: 'InsufficientSpace',
    message: /100 units need about 36\.1 GB, but the volume has 30\.0 GB free/,
  },
  'refuses outputs that are larger than the whole volume': {
    given: seen({ store: space(30e9, 35e9), model: large }),
    does: [],
    phase: 'Failed',
    reason: 'InsufficientSpace',
    message: /more than the whole volume holds \(35\.0 GB\)/,
  },
  'waits while the volume is full, whatever the model estimates': {
    given: seen({ store: space(0) }),
    does: [],
    phase: 'Pending',
    reason: 'InsufficientSpace',
  },
  'does not count a file that recordings share once for each': {
    given: seen({ store: space(100_000), model: { ok: true, model: aModel({ run: shared }) } }),
    does: ['claim and create'],
  },
  'starts when the file system does not tell its size': {
    given: seen({ store: space(0, 0) }),
    does: ['claim and create'],
  },
  'cancels a task that waits for another analysis': {
    given: seen({ store: undefined, task: aTask({ desired: 'Cancel' }) }),
    does: [],
    phase: 'Cancelled',
  },
};
