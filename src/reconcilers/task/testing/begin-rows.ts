import { aModel, aTask } from '../../../jobs/testing/fixtures.ts';
import { agoTask, type Rows } from './rows.ts';
import { seen } from './seen.ts';

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
    given: seen({ task: aTask({ callbacks: ['lab'] }) }),
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
