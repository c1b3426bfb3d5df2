import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Evidence, outcomeOf } from './outcome.ts';
import { aJob, aPod, NOW, runningState } from './testing/fixtures.ts';

interface Row {
  readonly given: Partial<Evidence>;
  readonly is: 'waiting' | 'running';
  readonly says: string;
  readonly message?: RegExp;
}

const resumed = aJob('unfinished', { queue: 'gpus', startedAt: '2026-03-01T11:59:30Z' });
const stopped = (at: Date) => {
  const pod = aPod({ model: runningState });
  return { ...pod, metadata: { ...pod.metadata, deletionTimestamp: at.toISOString() } };
};

const rows: Record<string, Row> = {
  'a suspended Job is queued': {
    given: { job: aJob('unfinished', { suspended: true, queue: 'gpus' }) },
    is: 'waiting',
    says: 'Queued',
    message: /LocalQueue "gpus".*kubectl get localqueues -n lab/,
  },
  'a suspended Job repeats what its queue says': {
    given: { job: aJob('unfinished', { suspended: true, queue: 'gpus' }), noPodBecause: 'no quota left' },
    is: 'waiting',
    says: 'Queued',
    message: /LocalQueue "gpus": no quota left/,
  },
  'a Job that somebody suspended without a queue': {
    given: { job: aJob('unfinished', { suspended: true }) },
    is: 'waiting',
    says: 'Queued',
    message: /from outside/,
  },
  'a suspended Job is queued whatever its pod still does': {
    given: {
      job: aJob('unfinished', { suspended: true, queue: 'gpus' }),
      pods: [aPod({ model: runningState })],
    },
    is: 'waiting',
    says: 'Queued',
  },
  'a Job that runs again waits for the pod that its queue stopped': {
    given: { job: resumed, pods: [stopped(NOW)] },
    is: 'waiting',
    says: 'Starting',
    message: /night-1-x.*has ended/,
  },
  'a pod that its queue stopped and that never ends is lost': {
    given: { job: resumed, pods: [stopped(new Date(NOW.getTime() - 120_000))] },
    is: 'running',
    says: 'NodeLost',
  },
};

const unscheduled = (why: string) => {
  const message = `0/1 nodes are available: ${why}`;
  return { pods: [aPod({}, { conditions: [{ type: 'PodScheduled', status: 'False', message }] })] };
};

const claims: Record<string, Row> = {
  'has no volume yet': {
    given: unscheduled('pod has unbound immediate PersistentVolumeClaims. not found'),
    is: 'waiting',
    says: 'VolumeNotReady',
    message: /claim cannot be used yet: 0\/1 nodes are available: pod has unbound/,
  },
  'is gone': {
    given: unscheduled('persistentvolumeclaim "datasets" not found'),
    is: 'waiting',
    says: 'VolumeNotReady',
  },
  'has its volume on other nodes': {
    given: unscheduled("1 node(s) didn't match PersistentVolume's node affinity"),
    is: 'waiting',
    says: 'Unschedulable',
  },
};

const told = (table: Record<string, Row>): void => {
  const base = { job: aJob(), pods: [], exitCodes: undefined, nodeLostAfterMs: 60_000, now: NOW };
  for (const [what, { given, is, says, message }] of Object.entries(table))
    it(what, () => {
      const outcome = outcomeOf({ ...base, ...given });
      assert.ok(outcome.is === 'waiting' || outcome.is === 'running');
      assert.deepEqual([outcome.is, outcome.reason], [is, says]);
      if (message) assert.match(outcome.message, message);
    });
};

describe('a Job in a queue', () => told(rows));
describe('a pod whose claim', () => told(claims));
