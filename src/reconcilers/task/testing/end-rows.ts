import {
  aJob,
  aModel,
  aPod,
  aTask,
  claimed,
  ended,
  NOW,
  reporting,
  runningState,
} from '../../../jobs/testing/fixtures.ts';
import { complete, partial, running, type Rows, unrecorded, withStatus } from './rows.ts';
import { seen } from './seen.ts';

const stopping = { category: 'OutOfMemory', message: 'It needed more memory', since: '2026-03-01T11:59:00Z' };

export const endRows: Rows = {
  'succeeds with the published result': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: complete }, { phase: 'Succeeded' })],
    }),
    phase: 'Succeeded',
    reason: 'Published',
  },
  'is PartiallySucceeded when units failed within the limit': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: partial }, { phase: 'Succeeded' })],
    }),
    phase: 'PartiallySucceeded',
    reason: 'UnitsFailed',
  },
  'reads the pod again when a finished Job has a pod that looks alive': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ model: runningState })],
    }),
    does: ['read live'],
  },
  'succeeds without a report when the pod of a complete Job is gone': {
    given: seen({ task: withStatus(running), live: true, jobs: [aJob('Complete')] }),
    phase: 'Succeeded',
    message: /manifest\.json/,
  },
  'succeeds when an earlier attempt had already published': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Failed')],
      pods: [aPod({ prepare: reporting(42, {}) }, { phase: 'Failed' })],
    }),
    phase: 'Succeeded',
  },

  'never retries invalid input': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Failed')],
      pods: [
        aPod(
          { prepare: reporting(10, { category: 'InvalidInput', message: 'a.wav has 8000 Hz' }) },
          { phase: 'Failed' },
        ),
      ],
    }),
    does: [],
    phase: 'Failed',
    reason: 'InvalidInput',
    message: /8000 Hz/,
  },
  'retries a model error that is the first of two': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Failed')],
      pods: [aPod({ model: ended(3, { message: 'boom' }) }, { phase: 'Failed' })],
    }),
    phase: 'Pending',
    reason: 'Retrying',
    message: /ModelError.*exit code 3: boom/,
  },
  'fails with the second model error of two': {
    given: seen({
      task: withStatus({ ...running, failedAttempts: 1 }),
      jobs: [aJob('Failed')],
      pods: [aPod({ model: ended(3) }, { phase: 'Failed' })],
    }),
    phase: 'Failed',
    reason: 'ModelError',
    message: /2 attempts failed/,
  },
  'repeats a disrupted attempt for free': {
    given: seen({
      task: withStatus({ ...running, failedAttempts: 1 }),
      jobs: [aJob('Failed')],
      pods: [
        aPod(
          {},
          {
            phase: 'Failed',
            conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }],
          },
        ),
      ],
    }),
    phase: 'Pending',
    reason: 'Retrying',
    message: /Disrupted/,
  },
  'gives up after too many disruptions': {
    given: seen({
      task: withStatus({ ...running, disruptions: 10 }),
      jobs: [aJob('Failed')],
      pods: [aPod({}, { phase: 'Failed', reason: 'Evicted' })],
    }),
    phase: 'Failed',
    reason: 'Disrupted',
  },
  'reads live before it believes that a Job is gone': {
    given: seen({ task: withStatus(running) }),
    does: ['read live'],
  },
  'repeats a Job that somebody deleted': {
    given: seen({ task: withStatus(running), live: true }),
    phase: 'Pending',
    reason: 'Retrying',
    message: /deleted from outside/,
  },
  'stops an orphaned pod before it repeats the attempt': {
    given: seen({ task: withStatus(running), live: true, pods: [aPod({ model: runningState })] }),
    does: ['delete pod'],
    reason: 'Stopping',
  },
  'creates a claimed Job that never was created': {
    given: seen({ task: withStatus(unrecorded()), live: true }),
    does: ['claim and create'],
    reason: 'Starting',
  },
  'gives the watch a moment to echo its own creation': {
    given: seen({ task: withStatus(unrecorded(NOW)) }),
    does: [],
  },
  'waits for the pause before the next attempt': {
    given: seen({ task: withStatus(claimed({ nextAttemptAt: '2026-03-01T12:00:30Z' })) }),
    does: [],
  },
  'waits for no pause that nothing asks for': {
    given: seen({ task: withStatus(claimed({ nextAttemptAt: '2999-01-01T00:00:00Z' })), live: true }),
    does: ['claim and create'],
    message: /Attempt 2/,
  },
  'reads live before a further attempt': {
    given: seen({ task: withStatus(claimed({ nextAttemptAt: '2026-03-01T11:59:59Z' })) }),
    does: ['read live'],
  },
  'starts attempt 2 after the pause': {
    given: seen({
      task: withStatus(claimed({ nextAttemptAt: '2026-03-01T11:59:59Z' })),
      live: true,
      jobs: [aJob('Failed')],
    }),
    does: ['claim and create'],
    message: /Attempt 2/,
  },

  'eases the parameters of an attempt that follows a shortage of memory': {
    given: seen({
      model: {
        ok: true,
        model: aModel({
          parameters: [{ name: 'batchSize', type: 'Integer', default: '16', outOfMemoryFactor: 0.5 }],
        }),
      },
      task: withStatus(
        claimed({
          nextAttemptAt: '2026-03-01T11:59:59Z',
          failures: [
            { attempt: 1, category: 'OutOfMemory', message: 'too much', at: '2026-03-01T11:59:00Z' },
          ],
        }),
      ),
      live: true,
      jobs: [aJob('Failed')],
    }),
    does: ['claim and create'],
    message: /Attempt 2 is being started with batchSize 8$/,
  },

  'cancels a task that never started without any read': {
    given: seen({ task: aTask({ desired: 'Cancel' }) }),
    does: [],
    phase: 'Cancelled',
  },
  'deletes the Job of a cancelled task and waits': {
    given: seen({
      task: withStatus(running, { desired: 'Cancel' }),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    does: ['delete job night-1'],
    phase: 'Running',
    reason: 'Cancelling',
  },
  'is Cancelled once no pod is left': {
    given: seen({ task: withStatus(running, { desired: 'Cancel' }), live: true }),
    phase: 'Cancelled',
    reason: 'Cancelled',
  },
  'lets a publish win that finished before the cancel': {
    given: seen({
      task: withStatus(running, { desired: 'Cancel' }),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: complete }, { phase: 'Succeeded' })],
    }),
    phase: 'Succeeded',
  },
  'lets a publish win that finished while its Job was being deleted': {
    given: seen({
      task: withStatus({ ...running, reason: 'Cancelling' }, { desired: 'Cancel' }),
      jobs: [{ ...aJob(), metadata: { ...aJob().metadata, deletionTimestamp: '2026-03-01T11:59:59Z' } }],
      pods: [aPod({ publish: complete }, { phase: 'Succeeded' })],
    }),
    phase: 'Succeeded',
    reason: 'Published',
  },
  'lets a publish win that was killed when it had reported its result': {
    given: seen({
      task: withStatus({ ...running, reason: 'Cancelling' }, { desired: 'Cancel' }),
      jobs: [{ ...aJob(), metadata: { ...aJob().metadata, deletionTimestamp: '2026-03-01T11:59:59Z' } }],
      pods: [
        aPod({ publish: { terminated: { ...complete.terminated, exitCode: 137 } } }, { phase: 'Failed' }),
      ],
    }),
    phase: 'Succeeded',
    reason: 'Published',
  },
  'waits for the end of a pod whose publish has ended': {
    given: seen({
      task: withStatus({ ...running, reason: 'Cancelling' }, { desired: 'Cancel' }),
      jobs: [{ ...aJob(), metadata: { ...aJob().metadata, deletionTimestamp: '2026-03-01T11:59:59Z' } }],
      pods: [aPod({ publish: complete })],
    }),
    does: [],
    phase: 'Running',
    reason: 'Cancelling',
  },
  'lets a publish win whose Job is gone': {
    given: seen({
      task: withStatus(running),
      live: true,
      pods: [aPod({ publish: complete }, { phase: 'Succeeded' })],
    }),
    does: [],
    phase: 'Succeeded',
  },
  'does not delete a Job whose pod has just published': {
    given: seen({
      task: withStatus(running, { desired: 'Cancel' }),
      jobs: [aJob()],
      pods: [aPod({ publish: complete }, { phase: 'Succeeded' })],
    }),
    does: [],
    phase: 'Running',
  },
  'is Suspended once no pod is left': {
    given: seen({ task: withStatus(running, { desired: 'Suspend' }), live: true }),
    phase: 'Pending',
    reason: 'Suspended',
  },
  'carries a suspension through that was taken back before the pod had stopped': {
    given: seen({ task: withStatus({ ...running, reason: 'Suspending' }), live: true }),
    does: [],
    phase: 'Pending',
    reason: 'Suspended',
  },
  'resumes a suspended task as a new attempt': {
    given: seen({
      task: withStatus(claimed({ reason: 'Suspended', nextAttemptAt: '2026-03-01T11:59:59Z' })),
      live: true,
    }),
    does: ['claim and create'],
    message: /Attempt 2/,
  },

  'does nothing for a task that is being deleted': {
    given: seen({
      task: { ...aTask(), metadata: { ...aTask().metadata, deletionTimestamp: NOW.toISOString() } },
    }),
    does: [],
  },
  'stops the work of a task that is being deleted but still held by a finalizer of somebody else': {
    given: seen({
      task: {
        ...withStatus(running),
        metadata: { ...aTask().metadata, deletionTimestamp: NOW.toISOString() },
      },
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    does: ['delete job night-1'],
    phase: 'Running',
    reason: 'Running',
  },
  'never reruns a finished task whose Job is gone': {
    given: seen({
      task: withStatus(claimed({ phase: 'Succeeded', reason: 'Published', settled: true })),
      live: true,
    }),
    does: [],
    phase: 'Succeeded',
  },
  'reads live before it believes that a finished task still runs': {
    given: seen({
      task: withStatus(claimed({ phase: 'Failed', reason: 'ModelError', settled: true })),
      jobs: [aJob()],
    }),
    does: ['read live'],
  },
  'removes a Job that a delayed request created for a finished task': {
    given: seen({
      task: withStatus(claimed({ phase: 'Failed', reason: 'ModelError', settled: true })),
      live: true,
      jobs: [aJob()],
    }),
    does: ['delete job night-1'],
    phase: 'Failed',
  },
  'reads live before it says that a task is cancelled': {
    given: seen({ task: withStatus(running, { desired: 'Cancel' }) }),
    does: ['read live'],
  },
  'removes an orphaned pod before the next attempt': {
    given: seen({
      task: withStatus(claimed({ nextAttemptAt: '2026-03-01T11:59:59Z' })),
      live: true,
      jobs: [aJob('Failed')],
      pods: [aPod({ model: runningState }, { ownerUid: undefined })],
    }),
    does: ['delete pod'],
  },
  'leaves a pod alone that carries its label but was made by something else': {
    given: seen({
      task: withStatus(running, { desired: 'Cancel' }),
      live: true,
      pods: [aPod({ model: runningState }, { ownerUid: 'replica-set', jobName: undefined })],
    }),
    does: [],
    phase: 'Cancelled',
  },
  'waits until the pod of a stopping attempt is gone': {
    given: seen({
      task: withStatus({ ...running, reason: 'Stopping', stopping }),
      live: true,
      jobs: [{ ...aJob(), metadata: { ...aJob().metadata, deletionTimestamp: '2026-03-01T11:59:59Z' } }],
      pods: [aPod({ model: runningState })],
    }),
    does: [],
    phase: 'Running',
    reason: 'Stopping',
  },
  'ends a stopped attempt with the verdict that was kept': {
    given: seen({
      task: withStatus({ ...running, reason: 'Stopping', stopping, failedAttempts: 1 }),
      live: true,
    }),
    phase: 'Failed',
    reason: 'OutOfMemory',
    message: /more memory/,
  },
  'takes a Job of the same name with another UID for a stranger': {
    given: seen({
      task: withStatus(running),
      live: true,
      jobs: [{ ...aJob(), metadata: { ...aJob().metadata, uid: 'another' } }],
    }),
    does: ['delete job night-1'],
    reason: 'Stopping',
    message: /deleted from outside/,
  },
  'does nothing on an old copy of a task that has a later attempt': {
    given: seen({ task: withStatus(running), jobs: [aJob('Failed'), aJob('unfinished', { attempt: 2 })] }),
    does: [],
    phase: 'Running',
  },
};
