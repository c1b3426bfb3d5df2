import type { TaskStatus } from '../../../api/task.ts';
import { aModel, aTask, claimed } from '../../../jobs/testing/fixtures.ts';
import { agoTask, held, type Rows, unrecorded } from './rows.ts';
import { seen } from './seen.ts';

const NO_CLAIM = 'PersistentVolumeClaim "datasets" does not exist';
const failedAt = (at: string) => ({ attempt: 1, category: 'ModelError', message: 'x', at });
const suspendedSince = (lastTransitionTime: string) =>
  ({ type: 'Suspended', status: 'True', reason: 'Suspended', message: '', lastTransitionTime }) as const;

/** A task that is ten days old and between two attempts. */
function old(status: TaskStatus) {
  const between = { phase: 'Pending', reason: 'Retrying', nextAttemptAt: '2026-03-01T11:59:10Z' } as const;
  return { ...agoTask(864_000), status: claimed({ ...between, ...status }) };
}

/** The same with a second attempt that was claimed, and whose Job the API server refused. */
function refusedJob(lastFailureAt: string) {
  const refused = {
    reason: 'Forbidden',
    message: 'jobs.batch is forbidden',
    failures: [failedAt(lastFailureAt)],
  };
  return { ...agoTask(864_000), status: { ...unrecorded(new Date('2026-03-01T11:00:00Z')), ...refused } };
}

export const beginRows: Rows = {
  'claims and creates exactly one Job for a fresh task': {
    given: seen(),
    does: ['claim and create'],
    phase: 'Pending',
    reason: 'Starting',
  },
  'starts nothing while the lease is not fresh': { given: seen({ mayStart: false }), does: [] },
  'says why it waits when the model is missing': {
    given: seen({ model: undefined }),
    does: [],
    phase: 'Pending',
    reason: 'ModelNotFound',
    message: /"vad-1-0" does not exist/,
  },
  'fails when the model stayed missing beyond the pending deadline': {
    given: seen({ model: undefined, task: agoTask(90000) }),
    phase: 'Failed',
    reason: 'ModelNotFound',
    message: /86400 s/,
  },
  'waits the whole deadline again after an attempt that ran for days': {
    given: seen({
      task: old({ failures: [failedAt('2026-03-01T11:59:00Z')] }),
      storeProblem: NO_CLAIM,
      live: true,
    }),
    phase: 'Pending',
    reason: 'VolumeNotReady',
  },
  'fails when the volume stayed away for the whole deadline after that attempt': {
    given: seen({
      task: old({ failures: [failedAt('2026-02-20T00:00:00Z')] }),
      storeProblem: NO_CLAIM,
      live: true,
    }),
    phase: 'Failed',
    reason: 'VolumeNotReady',
  },
  'waits the whole deadline again after a suspension': {
    given: seen({
      task: old({ conditions: [suspendedSince('2026-02-21T00:00:00Z')] }),
      storeProblem: NO_CLAIM,
    }),
    phase: 'Pending',
    reason: 'VolumeNotReady',
  },
  'tries a refused Job again as long as the deadline of this attempt allows': {
    given: seen({ task: refusedJob('2026-03-01T11:00:00Z'), live: true }),
    does: ['claim and create'],
    phase: 'Pending',
    reason: 'Starting',
  },
  'gives a refused Job up with the reason of the refusal': {
    given: seen({ task: refusedJob('2026-02-20T00:00:00Z'), live: true }),
    phase: 'Failed',
    reason: 'Forbidden',
  },
  'waits for a malformed model to be replaced': {
    given: seen({ model: { ok: false, name: 'vad-1-0', uid: 'x', problem: 'spec.run is missing' } }),
    phase: 'Pending',
    reason: 'ModelInvalid',
    message: /spec\.run/,
  },
  'waits for a model whose image is only a tag': {
    given: seen({ model: { ok: true, model: aModel({ image: 'vad:latest' }) } }),
    phase: 'Pending',
    reason: 'ImageNotPinned',
  },
  'waits for the volume': {
    given: seen({ storeProblem: 'PersistentVolumeClaim "datasets" does not exist' }),
    phase: 'Pending',
    reason: 'VolumeNotReady',
  },
  'refuses an unknown parameter at once': {
    given: seen({ task: aTask({ parameters: { speed: '1' } }) }),
    phase: 'Failed',
    reason: 'InvalidInput',
    message: /parameters\.speed/,
  },
  'refuses a callback endpoint that nobody configured': {
    given: seen({ task: held(aTask({ callbacks: ['lab'] }), { by: 'callbacks' }) }),
    phase: 'Failed',
    reason: 'InvalidInput',
    message: /"lab"/,
  },
  'refuses a dataset segment that no file system can hold': {
    given: seen({ task: aTask({ dataset: { path: 'é'.repeat(200) } }) }),
    phase: 'Failed',
    reason: 'InvalidInput',
    message: /255 bytes/,
  },
};
