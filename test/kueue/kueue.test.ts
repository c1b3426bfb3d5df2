import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { inWorld, type World } from '../faults/rig/world.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type Kueue, startKueue } from './rig/kueue.ts';
import { type GpuQueue, openQueue } from './rig/queue.ts';

const PENDING_DEADLINE_S = 15;
const GPU = { resourceName: 'nvidia.com/gpu', count: 1 };
const IMPATIENT = {
  gpu: GPU,
  failure: { maxAttempts: 2, backoffSeconds: 0, pendingDeadlineSeconds: PENDING_DEADLINE_S },
} as const;

let kueue: Kueue;

before('start Kueue', async function () {
  this.timeout(40 * 60_000); // it may have to be built first
  kueue = await startKueue();
});

// Kueue does not always end by itself when its API server is gone, and a child that runs keeps mocha waiting for it.
after('stop Kueue', () => kueue.kill());

/** A world whose tasks wait for the one GPU of a queue. */
const withQueue = (
  run: (world: World, queue: GpuQueue) => Promise<void>,
  model: Partial<ModelSpecInput> = { gpu: GPU },
): Promise<void> => inWorld('kueue', async (world) => run(world, await openQueue(world)), model);

/** The first pod of a task hangs until it is deleted, the next one succeeds. */
function hangsAtFirst({ node }: World, task: string): void {
  let pods = 0;
  node.script(task, () => ({ model: ++pods === 1 ? 'hangs' : 'succeeds' }));
}

const desire = async ({ lab }: World, task: string, desired: string): Promise<void> =>
  void expectOk(await lab.patchTask(task, { spec: { desired } }));

const queued = (world: World, task: string, message: RegExp) =>
  world.until(
    task,
    `Queued and ${message}`,
    (status) => status.reason === 'Queued' && message.test(status.message ?? ''),
  );

/** Nothing of a task is left: neither in the cluster nor in the queue. */
async function leavesTheQueue({ lab }: World, queue: GpuQueue, task: string): Promise<void> {
  await eventually(`${task} has no Job and no Workload`, async () => {
    const jobs = await lab.jobs(task);
    return jobs.length === 0 && (await queue.workloads()).size === 0 ? true : undefined;
  });
}

describe('tasks with spec.queue, admitted by a real Kueue', () => {
  it('wait as Queued with the reason while the quota is used up, however long, and run when it is free', () =>
    withQueue(async (world, queue) => {
      world.node.script('first', () => ({ model: 'hangs' }));
      await world.operator({ forced: true });
      await world.submit('first', { queue: queue.name });
      await world.running('first');
      await world.submit('second', { queue: queue.name });
      const { phase, attempt } = await queued(
        world,
        'second',
        /insufficient unused quota for nvidia\.com\/gpu/,
      );
      assert.equal(phase, 'Pending');
      const deadline = Date.parse(attempt?.claimedAt ?? '') + (PENDING_DEADLINE_S + 1) * 1000;
      await pause(deadline - Date.now());
      await queued(world, 'second', /quota/);
      await desire(world, 'first', 'Cancel');
      await world.sound({ first: 'Cancelled', second: 'Succeeded' });
      assert.deepEqual(
        world.node.ledger.map(({ task }) => task),
        ['first', 'second'],
      );
    }, IMPATIENT));

  const evictions: Record<string, (queue: GpuQueue, out: boolean) => Promise<void>> = {
    'its Workload is deactivated and activated again': (queue, out) => queue.activate('task', !out),
    'its ClusterQueue is drained and opened again': (queue, out) => queue.hold(out),
  };
  for (const [how, evict] of Object.entries(evictions))
    it(`stop, say Queued and go on in the same attempt when ${how}`, () =>
      withQueue(async (world, queue) => {
        hangsAtFirst(world, 'task');
        await world.operator({ forced: true });
        await world.submit('task', { queue: queue.name });
        await world.running('task');
        await evict(queue, true);
        await queued(world, 'task', /deactivated|stopped/);
        await eventually('its pod has stopped', async () =>
          (await world.lab.pods()).length === 0 ? true : undefined,
        );
        await evict(queue, false);
        await world.sound({ task: 'Succeeded' });
        const { status } = await world.lab.get('task');
        assert.equal(status?.attempt?.number, 1);
        assert.equal(status?.failures, undefined);
        assert.equal(world.node.ledger.length, 2);
      }));

  it('with priority High preempt those with Low, which end as well', () =>
    withQueue(async (world, queue) => {
      const classes = await priorityClasses(world.lab.namespace);
      hangsAtFirst(world, 'low');
      world.node.script('high', () => ({ runMs: 12_000 })); // time for low to say what happened to it
      await world.operator({ forced: true, config: { priorityClasses: classes } });
      await world.submit('low', { queue: queue.name, priority: 'Low' });
      await world.running('low');
      await world.submit('high', { queue: queue.name, priority: 'High' });
      await queued(world, 'low', /[Pp]reempted/);
      await world.sound({ low: 'Succeeded', high: 'Succeeded' });
      assert.deepEqual(
        world.node.ledger.map(({ task }) => task),
        ['low', 'high', 'low'],
      );
    }));

  it('leave the queue when they are cancelled or suspended while they wait', () =>
    withQueue(async (world, queue) => {
      await queue.hold(true);
      await world.operator({ forced: true });
      await world.submit('cancelled', { queue: queue.name });
      await queued(world, 'cancelled', /gpus/);
      await desire(world, 'cancelled', 'Cancel');
      await leavesTheQueue(world, queue, 'cancelled');
      await world.submit('paused', { queue: queue.name });
      await queued(world, 'paused', /gpus/);
      await desire(world, 'paused', 'Suspend');
      await world.until('paused', 'Suspended', ({ reason }) => reason === 'Suspended');
      await leavesTheQueue(world, queue, 'paused');
      await queue.hold(false);
      await desire(world, 'paused', 'Run');
      await world.sound({ cancelled: 'Cancelled', paused: 'Succeeded' });
      assert.equal((await world.lab.get('paused')).status?.attempt?.number, 2);
    }));

  it('give the quota back when they are cancelled or suspended while they run', () =>
    withQueue(async (world, queue) => {
      world.node.script('cancelled', () => ({ model: 'hangs' }));
      hangsAtFirst(world, 'paused');
      await world.operator({ forced: true });
      await world.submit('cancelled', { queue: queue.name });
      await world.running('cancelled');
      await world.submit('paused', { queue: queue.name });
      await desire(world, 'cancelled', 'Cancel');
      await world.running('paused');
      await desire(world, 'paused', 'Suspend');
      await world.until('paused', 'Suspended', ({ reason }) => reason === 'Suspended');
      await world.submit('next', { queue: queue.name });
      await world.ended('next');
      await desire(world, 'paused', 'Run');
      await world.sound({ cancelled: 'Cancelled', paused: 'Succeeded', next: 'Succeeded' });
    }));

  it('say which LocalQueue is missing, and run as soon as it exists', () =>
    withQueue(async (world, queue) => {
      await world.operator({ forced: true });
      await world.submit('early', { queue: 'not-yet' });
      const { phase } = await queued(world, 'early', /LocalQueue "not-yet".*kubectl get localqueues/);
      assert.equal(phase, 'Pending');
      await queue.createLocalQueue('not-yet');
      await world.sound({ early: 'Succeeded' });
    }));

  it('that are evicted and admitted again while no operator runs are followed by the next one', () =>
    withQueue(async (world, queue) => {
      hangsAtFirst(world, 'task');
      const operator = await world.operator({ forced: true });
      await world.submit('task', { queue: queue.name });
      await world.running('task');
      await operator.stop('SIGKILL');
      await queue.activate('task', false);
      await eventually('its pod has stopped', async () =>
        (await world.lab.pods()).length === 0 ? true : undefined,
      );
      await queue.activate('task', true);
      await world.operator({ forced: true });
      await world.sound({ task: 'Succeeded' });
      assert.equal((await world.lab.get('task')).status?.attempt?.number, 1);
    }));

  it('wait with a message while Kueue itself is down, and start once it is back', () =>
    withQueue(async (world, queue) => {
      await world.operator({ forced: true });
      await kueue.kill();
      try {
        await world.submit('task', { queue: queue.name });
        const status = await world.until(
          'task',
          'AdmissionFailed',
          ({ reason }) => reason === 'AdmissionFailed',
        );
        assert.match(status.message ?? '', /failed calling webhook "mjob\.kb\.io"/);
      } finally {
        await kueue.start();
      }
      await world.sound({ task: 'Succeeded' });
    }));
});

/** Two PriorityClasses, as the operator's configuration names them. */
async function priorityClasses(namespace: string): Promise<Record<string, string>> {
  const names = { Low: `low-${namespace}`, High: `high-${namespace}` };
  for (const [value, name] of Object.values(names).entries()) {
    const body = {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value: (value + 1) * 100,
      preemptionPolicy: 'Never', // as the chart makes them: the scheduler ends nothing, only the queue may
    };
    expectOk(await controlPlane().api.call('POST', '/apis/scheduling.k8s.io/v1/priorityclasses', { body }));
  }
  return names;
}
