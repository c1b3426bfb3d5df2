import { aJob, aModel, aPod, claimed, ended, runningState } from '../../../jobs/testing/fixtures.ts';
import { attemptOf, complete, oldJob, running, type Rows, withStatus } from './rows.ts';
import { seen } from './seen.ts';

export const followRows: Rows = {
  'keeps following a running Job whose model vanished': {
    given: seen({
      model: undefined,
      task: withStatus(running),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    phase: 'Running',
    reason: 'Running',
  },
  'keeps following a running Job whose model was replaced': {
    given: seen({
      model: { ok: true, model: aModel({}, 'other') },
      task: withStatus(running),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    phase: 'Running',
  },
  'starts no further attempt for a model that was replaced': {
    given: seen({
      model: { ok: true, model: aModel({}, 'other') },
      task: withStatus(claimed({ nextAttemptAt: '2026-03-01T11:59:50Z' })),
    }),
    does: [],
    phase: 'Failed',
    reason: 'ModelGone',
  },

  'records the Job on first sight': {
    given: seen({ task: withStatus(claimed()), jobs: [aJob()] }),
    phase: 'Pending',
    reason: 'Starting',
  },
  'says nothing new while the pod of a running attempt is gone and its Job has not said why': {
    given: seen({ task: withStatus(running), jobs: [aJob()] }),
    does: [],
    phase: 'Running',
    reason: 'Running',
  },
  'is Running once the model container runs': {
    given: seen({ task: withStatus(claimed()), jobs: [aJob()], pods: [aPod({ model: runningState })] }),
    phase: 'Running',
    reason: 'Running',
  },
  'is Running/Publishing once the model ended': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob()],
      pods: [aPod({ model: ended(0), publish: runningState })],
    }),
    phase: 'Running',
    reason: 'Publishing',
  },
  'stays Running/Publishing when publish has ended and its Job has not': {
    given: seen({
      task: withStatus({ ...running, reason: 'Publishing', message: 'it takes long' }),
      jobs: [aJob()],
      pods: [aPod({ model: ended(0), publish: complete })],
    }),
    does: [],
    phase: 'Running',
    reason: 'Publishing',
  },
  'explains an unschedulable pod': {
    given: seen({
      task: withStatus(claimed()),
      jobs: [aJob()],
      pods: [
        aPod(
          {},
          {
            conditions: [
              {
                type: 'PodScheduled',
                status: 'False',
                message: '0/3 nodes are available: 3 Insufficient nvidia.com/gpu',
              },
            ],
          },
        ),
      ],
    }),
    phase: 'Pending',
    reason: 'Unschedulable',
    message: /Insufficient nvidia/,
  },
  'explains an image that cannot be pulled': {
    given: seen({
      task: withStatus(claimed()),
      jobs: [aJob()],
      pods: [aPod({ model: { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } } })],
    }),
    phase: 'Pending',
    reason: 'ImagePull',
    message: /no such image/,
  },
  'waits for a queue without a deadline': {
    given: seen({
      task: withStatus(claimed({ attempt: { ...attemptOf(claimed()), claimedAt: '2026-01-01T00:00:00Z' } })),
      jobs: [aJob('unfinished', { suspended: true })],
    }),
    phase: 'Pending',
    reason: 'Queued',
  },
  'knows the first pod of a Job that the queue has just let go': {
    given: seen({
      task: withStatus(claimed({ attempt: { ...attemptOf(claimed()), claimedAt: '2026-02-01T00:00:00Z' } })),
      jobs: [{ ...aJob(), conditions: [{ type: 'Suspended', status: 'True' }] }],
      pods: [aPod()],
    }),
    does: [],
    phase: 'Pending',
    reason: 'Starting',
  },
  'says so when another controller is in charge of the Job, and does not ask why it has no pod': {
    given: seen({
      task: withStatus(claimed()),
      jobs: [{ ...oldJob(), managedBy: 'kueue.x-k8s.io/multikueue' }],
    }),
    does: [],
    phase: 'Pending',
    reason: 'Queued',
    message: /multikueue/,
  },
  'counts the pending deadline from the moment at which the queue let the Job go': {
    given: seen({
      task: withStatus(claimed({ attempt: { ...attemptOf(claimed()), claimedAt: '2026-02-01T00:00:00Z' } })),
      jobs: [aJob('unfinished', { startedAt: '2026-03-01T11:59:30Z' })],
    }),
    does: [],
    phase: 'Pending',
    reason: 'Starting',
  },
  'asks the events why the queue lets it wait': {
    given: seen({ task: withStatus(claimed()), jobs: [oldJob({ suspended: true, queue: 'gpus' })] }),
    does: ['read creation'],
  },
  'says why the queue lets it wait': {
    given: seen({
      task: withStatus(claimed()),
      jobs: [oldJob({ suspended: true, queue: 'gpus' })],
      creation: { problem: 'no quota left' },
    }),
    phase: 'Pending',
    reason: 'Queued',
    message: /LocalQueue "gpus": no quota left/,
  },
  'keeps what the queue said without asking again': {
    given: seen({
      task: withStatus(
        claimed({ reason: 'Queued', message: 'Waiting for LocalQueue "gpus": no quota left' }),
      ),
      jobs: [oldJob({ suspended: true, queue: 'gpus' })],
    }),
    does: [],
    reason: 'Queued',
    message: /no quota left/,
  },
  'is Queued in the same attempt when the queue stops what runs': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('unfinished', { suspended: true, queue: 'gpus' })],
      pods: [aPod({ model: runningState })],
    }),
    does: [],
    phase: 'Running',
    reason: 'Queued',
  },
  'counts the pending deadline from when the queue lets the Job run': {
    given: seen({
      task: withStatus(claimed({ attempt: { ...attemptOf(claimed()), claimedAt: '2026-02-01T00:00:00Z' } })),
      jobs: [aJob('unfinished', { queue: 'gpus', startedAt: '2026-03-01T11:59:59Z' })],
      pods: [aPod({ model: { waiting: { reason: 'ErrImagePull', message: 'x' } } })],
    }),
    does: [],
    phase: 'Pending',
    reason: 'ImagePull',
  },
  'gives a Job that its queue has just let run the time to be started': {
    given: seen({
      task: withStatus(claimed({ attempt: { ...attemptOf(claimed()), claimedAt: '2026-02-01T00:00:00Z' } })),
      jobs: [
        { ...aJob('unfinished', { queue: 'gpus' }), conditions: [{ type: 'Suspended', status: 'True' }] },
      ],
    }),
    does: [],
    phase: 'Pending',
    reason: 'Starting',
  },
  'asks the events why no pod appears': {
    given: seen({ task: withStatus(claimed()), jobs: [oldJob()] }),
    does: ['read creation'],
  },
  'explains an exhausted quota': {
    given: seen({
      task: withStatus(claimed()),
      jobs: [oldJob()],
      creation: { problem: 'exceeded quota: gpus' },
    }),
    phase: 'Pending',
    reason: 'QuotaExceeded',
  },
  'stops a pod that waited beyond the pending deadline': {
    given: seen({
      task: withStatus(claimed({ attempt: { ...attemptOf(claimed()), claimedAt: '2026-02-01T00:00:00Z' } })),
      jobs: [aJob()],
      pods: [aPod({ model: { waiting: { reason: 'ErrImagePull', message: 'x' } } })],
    }),
    does: ['delete job night-1'],
    phase: 'Pending',
    reason: 'Stopping',
  },
  'stops a pod that hangs because its model was killed for memory': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob()],
      pods: [aPod({ model: ended(0, { reason: 'OOMKilled' }) })],
    }),
    does: ['delete job night-1'],
    reason: 'Stopping',
    message: /resources\.memory/,
  },
  'lets a pod whose containers run once more take longer than the pending deadline': {
    given: seen({
      task: withStatus({
        ...running,
        attempt: {
          ...attemptOf(running),
          claimedAt: '2026-02-01T00:00:00Z',
          startedAt: '2026-02-01T00:01:00Z',
        },
      }),
      jobs: [aJob()],
      pods: [aPod({ prepare: { waiting: { reason: 'PodInitializing' } } })],
    }),
    does: [],
    phase: 'Running',
    reason: 'Starting',
  },
  'trusts its own clock more than that of a node that lags': {
    given: seen({
      task: withStatus(claimed()),
      jobs: [aJob()],
      pods: [aPod({ prepare: { terminated: { exitCode: 0, finishedAt: '2026-01-01T00:00:00Z' } } })],
    }),
    does: [],
    phase: 'Pending',
    reason: 'Starting',
  },
};
