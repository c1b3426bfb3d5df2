import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import type { TaskStatus } from '../../src/api/task.ts';
import { DEADLINE_SLACK_SECONDS } from '../../src/jobs/defaults.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { evict, markDisrupted, setTaint } from './rig/disruptions.ts';
import { type Behaviour, firstMeets } from './rig/containers.ts';
import { blocked, disruption, failedStatus, hangsAfter, refused } from './rig/pod-status.ts';
import { row } from './rig/row.ts';
import { inWorld, type World } from './rig/world.ts';

/* The operators lead without a lease: these rows are not about it, and on a busy machine it is lost now and then. */

/** What a status says about the attempts so far. */
function tally({ attempt, disruptions = 0, failedAttempts = 0, failures = [] }: TaskStatus = {}) {
  const categories = failures.map(({ category }) => category);
  return { attempts: attempt?.number, disruptions, failedAttempts, categories };
}

/** One free attempt is lost, the next one succeeds. */
async function repeatsForFree(world: World, first: Behaviour): Promise<void> {
  world.node.script('t', firstMeets(first));
  await world.operator({ forced: true });
  await world.submit('t');
  await world.sound({ t: 'Succeeded' });
  const { status } = await world.lab.get('t');
  assert.deepEqual(tally(status), {
    attempts: 2,
    disruptions: 1,
    failedAttempts: 0,
    categories: ['Disrupted'],
  });
}

const byKubelet = (message: string) => ({
  conditions: [disruption('TerminationByKubelet', message)],
  message,
});

/** Disruptions as they show in the pod; none of them is the task's fault. */
const DISRUPTIONS: Readonly<Record<string, Behaviour>> = {
  'eviction over the API, as by a drain': { model: 'hangs', onModel: evict },
  'a graceful shutdown of the node': {
    model: 'fails',
    ends: failedStatus(
      143,
      {},
      { reason: 'Terminated', ...byKubelet('Pod was terminated in response to imminent node shutdown.') },
    ),
  },
  'eviction by kubelet under pressure': {
    model: 'fails',
    ends: failedStatus(
      137,
      {},
      { reason: 'Evicted', ...byKubelet('The node was low on resource: memory. Threshold quantity: 100Mi.') },
    ),
  },
  'room made for a critical pod': {
    model: 'fails',
    ends: failedStatus(
      137,
      {},
      { reason: 'Preempting', ...byKubelet('Preempted in order to admit critical pod') },
    ),
  },
  UnexpectedAdmissionError: {
    says: refused(
      'UnexpectedAdmissionError',
      'Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate nvidia.com/gpu',
    ),
  },
  'OutOfcpu on arrival at the node': {
    says: refused('OutOfcpu', 'Pod was rejected: Node did not have enough resource: cpu'),
  },
};
const IDS = ['eviction', 'shutdown', 'pressure', 'critical', 'admission', 'out-of-cpu'];

describe('G3 a pod is taken away', () => {
  for (const [index, [what, first]] of Object.entries(DISRUPTIONS).entries()) {
    const id = `G3/${IDS[index] ?? index}`;
    row(
      id,
      `${what}: Disrupted, repeated for free`,
      () => inWorld('taken', (world) => repeatsForFree(world, first)),
      { smoke: id === 'G3/eviction' },
    );
  }

  row('G3/taint', 'a taint drives the pod off its node (real controller): Disrupted, repeated for free', () =>
    inWorld('taint', async (world) => {
      const { node, lab } = world;
      node.script('t', firstMeets({ model: 'hangs' }));
      await world.operator({ forced: true });
      await world.submit('t');
      await world.running('t');
      await setTaint(node.name, 'maintenance', { effect: 'NoExecute' });
      await world.until('t', 'a disruption', ({ disruptions }) => disruptions === 1);
      await setTaint(node.name, 'maintenance');
      await world.sound({ t: 'Succeeded' });
      const { failures = [], failedAttempts = 0 } = (await lab.get('t')).status ?? {};
      assert.match(failures[0]?.message ?? '', /DeletionByTaintManager|DisruptionTarget/);
      assert.equal(failedAttempts, 0);
    }),
  );

  row('G3/cap', 'a task that is disrupted again and again fails after maxDisruptions repetitions', () =>
    inWorld('capped', async (world) => {
      world.node.script('t', () => ({ model: 'hangs', onModel: evict }));
      await world.operator({ forced: true, config: { maxDisruptions: 2 } });
      await world.submit('t');
      const { jobs } = await world.sound({ t: 'Failed' });
      const { status } = await world.lab.get('t');
      assert.equal(jobs.length, 3);
      assert.equal(status?.reason, 'Disrupted');
      assert.match(status?.message ?? '', /disrupted 3 times/);
      assert.deepEqual([tally(status).disruptions, tally(status).failedAttempts], [3, 0]);
    }),
  );
});

describe('G5 a DisruptionTarget condition stays on a pod that nobody took away', () => {
  row('G5', 'then the model fails: one attempt more than usual, and the failures are counted', () =>
    inWorld('stale', async (world) => {
      world.node.script('t', (attempt) => ({
        model: 'fails',
        ...(attempt === 1 ? { onModel: markDisrupted } : {}),
      }));
      await world.operator({ forced: true });
      await world.submit('t');
      const { jobs } = await world.sound({ t: 'Failed' });
      const { status } = await world.lab.get('t');
      assert.equal(jobs.length, 3);
      assert.deepEqual(tally(status), {
        attempts: 3,
        disruptions: 1,
        failedAttempts: 2,
        categories: ['Disrupted', 'ModelError', 'ModelError'],
      });
    }),
  );

  row('G5/cap', 'and fails like that every time: no endless loop', () =>
    inWorld('stale', async (world) => {
      world.node.script('t', () => ({ model: 'fails', onModel: markDisrupted }));
      await world.operator({ forced: true, config: { maxDisruptions: 1 } });
      await world.submit('t');
      const { jobs } = await world.sound({ t: 'Failed' });
      assert.equal(jobs.length, 2);
      assert.equal((await world.lab.get('t')).status?.reason, 'Disrupted');
    }),
  );

  row('G5/success', 'then the model succeeds: Succeeded, nothing is repeated', () =>
    inWorld('stale', async (world) => {
      world.node.script('t', () => ({ onModel: markDisrupted }));
      await world.operator({ forced: true });
      await world.submit('t');
      const { jobs } = await world.sound({ t: 'Succeeded' });
      assert.equal(jobs.length, 1);
    }),
  );
});

const OOM: Readonly<Record<string, object>> = {
  reason: failedStatus(137, { reason: 'OOMKilled' }),
  'no-reason': failedStatus(137, { reason: 'Error' }),
  hangs: hangsAfter({ reason: 'OOMKilled' }),
};

describe('G6 the model is killed for memory', () => {
  for (const [how, ends] of Object.entries(OOM)) {
    row(
      `G6/${how}`,
      `seen as ${how}: OutOfMemory, counted, Failed after maxAttempts with the fix named`,
      () =>
        inWorld('memory', async (world) => {
          world.node.script('t', () => ({ model: 'fails', ends }));
          await world.operator({ forced: true });
          await world.submit('t');
          const { jobs } = await world.sound({ t: 'Failed' });
          const { status } = await world.lab.get('t');
          assert.equal(jobs.length, 2);
          assert.equal(status?.reason, 'OutOfMemory');
          assert.match(status?.message ?? '', /resources\.memory/);
          assert.deepEqual([tally(status).failedAttempts, tally(status).disruptions], [2, 0]);
        }),
    );
  }

  row('G6/disrupted', '137 of a pod that was taken away is no lack of memory: Disrupted, free', () => {
    const more = { conditions: [disruption('EvictionByEvictionAPI')] };
    const ends = failedStatus(137, { reason: 'Error' }, more);
    return inWorld('memory', (world) => repeatsForFree(world, { model: 'fails', ends }));
  });
});

interface Blocked {
  readonly says: object;
  readonly reason: string;
  readonly message: RegExp;
}

const PULL = /cannot be pulled.*check spec\.image of the model and the pull secret/s;
const CONFIG = /cannot be created.*correct the AnalysisModel/s;
const BLOCKED: Readonly<Record<string, Blocked>> = {
  errimagepull: {
    says: blocked('model', 'ErrImagePull', 'failed to resolve reference: 403 Forbidden'),
    reason: 'ImagePull',
    message: PULL,
  },
  imagepullbackoff: {
    says: blocked('model', 'ImagePullBackOff', 'Back-off pulling image "example.org/x"'),
    reason: 'ImagePull',
    message: PULL,
  },
  invalidimagename: {
    says: blocked('model', 'InvalidImageName', 'couldn\'t parse image name "Example.org/X"'),
    reason: 'ImagePull',
    message: PULL,
  },
  'agents-image': {
    says: blocked('prepare', 'ErrImageNeverPull', 'Container image is not present with pull policy of Never'),
    reason: 'ImagePull',
    message: PULL,
  },
  createcontainerconfigerror: {
    says: blocked('model', 'CreateContainerConfigError', 'secret "token" not found'),
    reason: 'ConfigError',
    message: CONFIG,
  },
  createcontainererror: {
    says: blocked('model', 'CreateContainerError', 'failed to generate spec: no command specified'),
    reason: 'ConfigError',
    message: CONFIG,
  },
};
const deadline = { failure: { maxAttempts: 2, backoffSeconds: 0, pendingDeadlineSeconds: 10 } };

describe('G7 a container cannot be started', () => {
  row(
    'G7',
    'the reason is shown at once; the pending deadline ends it with the fix named, and nothing is left',
    () =>
      inWorld(
        'blocked',
        async (world) => {
          const { node, lab } = world;
          const tasks = Object.entries(BLOCKED);
          for (const [task, { says }] of tasks) node.script(task, () => ({ says }));
          await world.operator({ forced: true });
          for (const [task] of tasks) await world.submit(task);
          for (const [task, { reason }] of tasks) {
            const shown = await world.until(task, reason, (status) => status.reason === reason);
            assert.equal(shown.phase, 'Pending', task);
          }
          const { jobs } = await world.sound(Object.fromEntries(tasks.map(([task]) => [task, 'Failed'])));
          assert.equal(jobs.length, tasks.length, 'waiting longer does not help, so nothing is repeated');
          for (const [task, { reason, message }] of tasks) {
            const { status } = await lab.get(task);
            assert.equal(status?.reason, reason, task);
            assert.match(status?.message ?? '', message, task);
          }
          assert.deepEqual(await lab.jobs(), [], 'their pods would wait for ever');
        },
        deadline,
      ),
  );
});

const deadlines = z.object({
  items: z.tuple([z.object({ spec: z.object({ activeDeadlineSeconds: z.number() }) })]),
});

describe('G14 the run deadline', () => {
  row('G14/pod', "is the pod's own, on its node's clock; passing it is DeadlineExceeded, and counted", () =>
    inWorld(
      'deadline',
      async (world) => {
        const message = 'Pod was active on the node longer than the specified deadline';
        const ends = failedStatus(137, { reason: 'Error' }, { reason: 'DeadlineExceeded', message });
        world.node.script('t', firstMeets({ model: 'fails', ends }));
        await world.operator({ forced: true });
        await world.submit('t');
        await world.running('t');
        const pods = expectOk(await controlPlane().api.call('GET', world.lab.path('pods')));
        const { spec } = deadlines.parse(pods).items[0];
        assert.equal(spec.activeDeadlineSeconds, 3600 + DEADLINE_SLACK_SECONDS);
        await world.sound({ t: 'Succeeded' });
        const { status } = await world.lab.get('t');
        assert.deepEqual(tally(status), {
          attempts: 2,
          disruptions: 0,
          failedAttempts: 1,
          categories: ['DeadlineExceeded'],
        });
      },
      { failure: { maxAttempts: 2, backoffSeconds: 0, runDeadlineSeconds: 3600 } },
    ),
  );
});
