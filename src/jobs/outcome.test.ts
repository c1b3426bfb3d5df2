import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Evidence, type Outcome, outcomeOf } from './outcome.ts';
import { aJob, aPod, ended, NOW, reporting, runningState } from './testing/fixtures.ts';
import type { PodView } from './views.ts';

const failedPod = (states: Parameters<typeof aPod>[0], more: Partial<PodView> = {}) =>
  aPod(states, { phase: 'Failed', ...more });
const deletedPod = (states: Parameters<typeof aPod>[0]) =>
  failedPod(states, { metadata: { ...aPod().metadata, deletionTimestamp: NOW.toISOString() } });
const failedJob = (message = '') => ({
  ...aJob('Failed'),
  conditions: [{ type: 'Failed', status: 'True', message, reason: 'PodFailurePolicy' }],
});

interface Row {
  readonly given: Partial<Evidence>;
  readonly is: Outcome['is'];
  readonly says: string;
  readonly message?: RegExp;
}

const unscheduled = aPod(
  {},
  { conditions: [{ type: 'PodScheduled', status: 'False', message: 'no GPU left' }] },
);
const disruption = {
  type: 'DisruptionTarget',
  status: 'True',
  reason: 'EvictionByEvictionAPI',
  message: 'drained',
};

const result = { path: 'corpus/outputs/night-1', manifestSha256: 'aa', files: 1, bytes: 9 };

const nothing: Evidence = {
  job: aJob(),
  pods: [],
  exitCodes: undefined,
  nodeLostAfterMs: 60_000,
  now: NOW,
};

const table: Record<string, Row> = {
  'a Job without a pod is starting': { given: {}, is: 'waiting', says: 'Starting' },
  'a pod refused by quota': {
    given: { noPodBecause: 'pods "x" is forbidden: exceeded quota: q' },
    is: 'waiting',
    says: 'QuotaExceeded',
    message: /exceeded quota/,
  },
  'the same refusal of a pod that has another name at each try': {
    given: {
      noPodBecause:
        '(combined from similar events): Error creating: pods "x-7q2" is forbidden: exceeded quota: q',
    },
    is: 'waiting',
    says: 'QuotaExceeded',
    message: /^The pod cannot be created: it is forbidden: exceeded quota: q$/,
  },
  'a pod refused by admission': {
    given: { noPodBecause: 'violates PodSecurity' },
    is: 'waiting',
    says: 'PodRefused',
    message: /PodSecurity/,
  },
  'a pod that no node can take': {
    given: { pods: [unscheduled] },
    is: 'waiting',
    says: 'Unschedulable',
    message: /no GPU left/,
  },
  'a missing image': {
    given: { pods: [aPod({ model: { waiting: { reason: 'ErrImagePull', message: '404' } } })] },
    is: 'waiting',
    says: 'ImagePull',
    message: /container model.*404/,
  },
  'a container that cannot be configured': {
    given: {
      pods: [
        aPod({ model: { waiting: { reason: 'CreateContainerConfigError', message: 'no such volume' } } }),
      ],
    },
    is: 'waiting',
    says: 'ConfigError',
  },
  'a dataset whose check has just begun': {
    given: { pods: [aPod({ prepare: { running: { startedAt: '2026-03-01T11:59:58Z' } } })] },
    is: 'waiting',
    says: 'Starting',
  },
  'a dataset whose check takes long': {
    given: { pods: [aPod({ prepare: runningState })] },
    is: 'waiting',
    says: 'Preparing',
  },
  'a running model': {
    given: { pods: [aPod({ model: runningState })] },
    is: 'running',
    says: 'Running',
    message: /node gpu-1/,
  },
  'a model that has just ended': {
    given: { pods: [aPod({ model: { terminated: { exitCode: 0, finishedAt: '2026-03-01T11:59:59Z' } } })] },
    is: 'running',
    says: 'Running',
  },
  'a publication that has ended, before the Job says so': {
    given: { pods: [aPod({ model: ended(0), publish: ended(0) })] },
    is: 'running',
    says: 'Running',
  },
  'a publication that takes long': {
    given: { pods: [aPod({ model: ended(0), publish: runningState })] },
    is: 'running',
    says: 'Publishing',
  },
  'a pod whose node does not answer': {
    given: {
      pods: [
        aPod(
          { model: runningState },
          { metadata: { ...aPod().metadata, deletionTimestamp: '2026-03-01T11:50:00Z' } },
        ),
      ],
    },
    is: 'running',
    says: 'NodeLost',
    message: /gpu-1.*out-of-service/,
  },
  'a pod whose node still has time to answer': {
    given: {
      nodeLostAfterMs: 600_001,
      pods: [
        aPod(
          { model: runningState },
          { metadata: { ...aPod().metadata, deletionTimestamp: '2026-03-01T11:50:00Z' } },
        ),
      ],
    },
    is: 'running',
    says: 'Running',
  },
  'a model killed for memory in a pod that kubelet never ends': {
    given: { pods: [aPod({ model: ended(0, { reason: 'OOMKilled' }) })] },
    is: 'doomed',
    says: 'OutOfMemory',
  },
  'a complete Job': {
    given: { job: aJob('Complete'), pods: [aPod({ publish: reporting(0, {}) }, { phase: 'Succeeded' })] },
    is: 'succeeded',
    says: 'what happened',
  },
  'a complete Job stays complete though its pod failed later': {
    given: { job: aJob('Complete'), pods: [failedPod({ publish: ended(0) })] },
    is: 'succeeded',
    says: '',
  },
  'a result published by an earlier attempt': {
    given: { job: failedJob(), pods: [failedPod({ prepare: reporting(42, {}) })] },
    is: 'succeeded',
    says: 'what happened',
  },
  'a result published earlier, pod gone': {
    given: {
      job: failedJob(
        'Container prepare for pod a/b failed with exit code 42 matching FailJob rule at index 1',
      ),
    },
    is: 'succeeded',
    says: '',
  },
  'bad input found by prepare': {
    given: {
      job: failedJob(),
      pods: [failedPod({ prepare: reporting(10, { category: 'InvalidInput', message: 'a.wav is stereo' }) })],
    },
    is: 'failed',
    says: 'InvalidInput',
    message: /stereo/,
  },
  'bad input, pod gone': {
    given: { job: failedJob('failed with exit code 10 matching FailJob rule at index 1') },
    is: 'failed',
    says: 'InvalidInput',
  },
  'a missing output': {
    given: {
      job: failedJob(),
      pods: [failedPod({ model: ended(0), publish: reporting(11, { category: 'MissingOutput' }) })],
    },
    is: 'failed',
    says: 'MissingOutput',
  },
  'units killed for memory': {
    given: {
      job: failedJob(),
      pods: [failedPod({ model: ended(0), publish: reporting(11, { category: 'OutOfMemory' }) })],
    },
    is: 'failed',
    says: 'OutOfMemory',
  },
  'a full disk': {
    given: { job: failedJob(), pods: [failedPod({ publish: reporting(13, { category: 'Storage' }) })] },
    is: 'failed',
    says: 'Storage',
  },
  'an output name that is taken': {
    given: { job: failedJob(), pods: [failedPod({ prepare: ended(43) })] },
    is: 'failed',
    says: 'OutputConflict',
  },
  'a report that was cut': {
    given: { job: failedJob(), pods: [failedPod({ publish: ended(11, { message: '{"v":1,"mess' }) })] },
    is: 'failed',
    says: 'MissingOutput',
    message: /no report/,
  },
  'a GPU without memory left, whatever the exit code': {
    given: {
      job: failedJob(),
      pods: [
        failedPod({
          model: ended(1, {
            message:
              'File "run.py"\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\nbye',
          }),
        }),
      ],
    },
    is: 'failed',
    says: 'OutOfMemory',
    message: /The GPU ran out of memory \(exit code 1\): torch.*Tried to allocate 2 GiB$/,
  },
  'a model killed for memory': {
    given: { job: failedJob(), pods: [failedPod({ model: ended(137, { reason: 'OOMKilled' }) })] },
    is: 'failed',
    says: 'OutOfMemory',
  },
  'a pod that somebody deleted is not the fault of the model': {
    given: { job: failedJob(), pods: [deletedPod({ model: ended(137) })] },
    is: 'failed',
    says: 'Lost',
    message: /deleted from outside/,
  },
  'a model that had failed before its pod was deleted': {
    given: { job: failedJob(), pods: [deletedPod({ model: ended(3) })] },
    is: 'failed',
    says: 'ModelError',
  },
  'a model killed without a reason': {
    given: { job: failedJob(), pods: [failedPod({ model: ended(137) })] },
    is: 'failed',
    says: 'OutOfMemory',
  },
  'a model that fails': {
    given: {
      job: failedJob(),
      pods: [failedPod({ model: ended(3, { message: 'loading\nValueError: x\n' }) })],
    },
    is: 'failed',
    says: 'ModelError',
    message: /exit code 3: ValueError: x/,
  },
  'an exit code that the catalogue explains': {
    given: {
      job: failedJob(),
      exitCodes: [{ code: 3, category: 'InvalidInput', hint: 'resample' }],
      pods: [failedPod({ model: ended(3) })],
    },
    is: 'failed',
    says: 'InvalidInput',
    message: /resample/,
  },
  'a command that is not in the image': {
    given: {
      job: failedJob(),
      pods: [failedPod({ model: ended(128, { reason: 'StartError', message: 'exec: "nope": not found' }) })],
    },
    is: 'failed',
    says: 'ConfigError',
    message: /not found/,
  },
  'an eviction': {
    given: { job: failedJob(), pods: [failedPod({ model: ended(143) }, { conditions: [disruption] })] },
    is: 'failed',
    says: 'Disrupted',
    message: /drained/,
  },
  'an eviction, pod gone': {
    given: { job: failedJob('Pod a/b has condition DisruptionTarget matching FailJob rule at index 0') },
    is: 'failed',
    says: 'Disrupted',
  },
  'a verdict outranks the eviction that followed it': {
    given: {
      job: failedJob(),
      pods: [
        failedPod({ publish: reporting(11, { category: 'MissingOutput' }) }, { conditions: [disruption] }),
      ],
    },
    is: 'failed',
    says: 'MissingOutput',
  },
  'a pod that the node refused': {
    given: {
      job: failedJob(),
      pods: [failedPod({}, { reason: 'UnexpectedAdmissionError', message: 'no device' })],
    },
    is: 'failed',
    says: 'Disrupted',
  },
  'a run beyond its deadline': {
    given: { job: failedJob(), pods: [failedPod({ model: ended(143) }, { reason: 'DeadlineExceeded' })] },
    is: 'failed',
    says: 'DeadlineExceeded',
  },
  'a publication that ended well although the deadline of its pod had passed': {
    given: {
      job: failedJob(),
      pods: [failedPod({ publish: reporting(0, {}) }, { reason: 'DeadlineExceeded' })],
    },
    is: 'succeeded',
    says: 'what happened',
  },
  'a publication that was killed once it had reported its result': {
    given: {
      job: failedJob(),
      pods: [failedPod({ publish: reporting(137, { result }) }, { reason: 'DeadlineExceeded' })],
    },
    is: 'succeeded',
    says: 'what happened',
  },
  'a publication that was killed before it had a result': {
    given: {
      job: failedJob(),
      pods: [failedPod({ publish: reporting(137, {}) }, { reason: 'DeadlineExceeded' })],
    },
    is: 'failed',
    says: 'DeadlineExceeded',
  },
  'a pod deleted by hand': {
    given: { job: failedJob('Job has reached the specified backoff limit') },
    is: 'failed',
    says: 'Lost',
  },
  'an agent that crashed': {
    given: { job: failedJob(), pods: [failedPod({ prepare: ended(1, { message: 'SyntaxError' }) })] },
    is: 'failed',
    says: 'AgentError',
    message: /prepare.*SyntaxError/,
  },
  'an agent killed for memory': {
    given: { job: failedJob(), pods: [failedPod({ publish: ended(137, { reason: 'OOMKilled' }) })] },
    is: 'failed',
    says: 'AgentError',
    message: /killed for memory/,
  },
  'a failure nobody explains': {
    given: { job: failedJob('no idea'), pods: [failedPod({})] },
    is: 'failed',
    says: 'Lost',
    message: /no idea/,
  },
};

function wordOf(outcome: Outcome): string {
  if (outcome.is === 'failed' || outcome.is === 'doomed') return outcome.category;
  return outcome.is === 'succeeded' ? (outcome.report?.message ?? '') : outcome.reason;
}

describe('outcomeOf()', () => {
  for (const [name, { given, is, says, message }] of Object.entries(table)) {
    it(name, () => {
      const outcome = outcomeOf({ ...nothing, ...given });
      assert.deepEqual([outcome.is, wordOf(outcome)], [is, says]);
      if (message) assert.match('message' in outcome ? outcome.message : '', message);
    });
  }

  it('judges the newest of two pods', () => {
    const older = failedPod(
      { model: ended(1) },
      { metadata: { ...aPod().metadata, uid: 'old', creationTimestamp: '2026-03-01T10:00:00Z' } },
    );
    const newer = failedPod({ model: ended(137) });
    const outcome = outcomeOf({ ...nothing, job: failedJob(), pods: [newer, older] });
    assert.equal(wordOf(outcome), 'OutOfMemory');
  });
});
