import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Phase, taskStatus } from '../../api/task.ts';
import type { Observed } from './observed.ts';
import { planTask } from './plan.ts';
import { after, seen } from './testing/seen.ts';
import type { TaskPlan } from './task-plan.ts';
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
} from '../../jobs/testing/fixtures.ts';

/** What a plan does, in words. */
function deeds(plan: TaskPlan): string[] {
  return [
    ...(plan.needs ? [`read ${plan.needs}`] : []),
    ...plan.removeJobs.map(({ name }) => `delete job ${name.slice(0, 7)}`),
    ...plan.removePods.map(() => 'delete pod'),
    ...(plan.create ? ['claim and create'] : []),
  ];
}

interface Row {
  readonly given: Observed;
  readonly does?: readonly string[];
  readonly phase?: Phase;
  readonly reason?: string;
  readonly message?: RegExp;
}

const running = claimed({ phase: 'Running', reason: 'Running', startedAt: '2026-03-01T11:59:30Z' });
const withStatus = (status: ReturnType<typeof claimed>, spec = {}) => aTask(spec, status);
const agoTask = (seconds: number, spec = {}) => {
  const task = aTask(spec);
  const creationTimestamp = new Date(NOW.getTime() - seconds * 1000).toISOString();
  return { ...task, metadata: { ...task.metadata, creationTimestamp } };
};
const complete = reporting(0, {
  units: { total: 3, done: 3, failed: 0, reused: 0 },
  result: { path: 'corpus/outputs/night-1', manifestSha256: 'ab', files: 3, bytes: 9 },
});
const partial = reporting(0, {
  units: { total: 3, done: 2, failed: 1, reused: 0 },
  failedUnits: ['b.wav: broken'],
});

const table: Record<string, Row> = {
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
  'is Suspended once no pod is left': {
    given: seen({ task: withStatus(running, { desired: 'Suspend' }), live: true }),
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
};

function attemptOf(status: ReturnType<typeof claimed>) {
  assert.ok(status.attempt);
  return status.attempt;
}

function unrecorded(claimedAt?: Date) {
  const { jobUID: _, ...attempt } = attemptOf(claimed());
  return claimed({ attempt: { ...attempt, ...(claimedAt ? { claimedAt: claimedAt.toISOString() } : {}) } });
}

function oldJob() {
  const job = aJob();
  return { ...job, metadata: { ...job.metadata, creationTimestamp: '2026-03-01T11:59:20Z' } };
}

describe('planTask()', () => {
  for (const [name, row] of Object.entries(table)) {
    it(name, () => {
      const plan = planTask(row.given);
      if (row.does) assert.deepEqual(deeds(plan), row.does);
      if (row.phase) assert.equal(plan.status?.phase, row.phase);
      if (row.reason) assert.equal(plan.status?.reason, row.reason);
      if (row.message) assert.match(plan.status?.message ?? '', row.message);
    });

    it(`${name}, writes what the API accepts`, () => {
      const { status } = planTask(row.given);
      if (status) assert.deepEqual(taskStatus.parse(status), status);
    });

    it(`${name}, then settles`, () => {
      let world = row.given;
      for (let round = 0; round < 12; round++) world = after(world, planTask(world));
      const last = planTask({ ...world, now: new Date(world.now.getTime() + 1) });
      assert.deepEqual(
        deeds(last).filter((deed) => !deed.startsWith('read')),
        [],
      );
      assert.equal(last.status, world.task.status, 'the very same status: no write');
    });
  }
});
