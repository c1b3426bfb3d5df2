import assert from 'node:assert/strict';
import { describe } from 'mocha';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { bindStore, priorityClass, setGpus, setTaint, withScheduler } from './rig/disruptions.ts';
import type { PlayedNode } from './rig/node.ts';
import { row } from './rig/row.ts';
import { inWorld, type World } from './rig/world.ts';

/** A world whose only open node has these GPUs, with a real scheduler and a model that needs one of them. */
function inScheduledWorld(
  { gpus }: { readonly gpus: number },
  run: (world: World, node: PlayedNode, model: string) => Promise<void>,
  spec: Partial<ModelSpecInput> = {},
): () => Promise<void> {
  return () =>
    inWorld('schedule', async (world) => {
      const { lab } = world;
      world.node.cutOff(true); // it would bind by hand
      const node = await world.addNode({ prefix: 'open', scheduled: true, gpus });
      await bindStore(lab.namespace);
      const model = await lab.model('gpu', {
        run: { per: 'File', command: ['cp', '{input}', '{output}'] },
        outputs: [{ path: 'raw/{rel}' }],
        nodeSelector: { 'kubernetes.io/hostname': node.name },
        gpu: { count: 1 },
        ...spec,
      });
      await withScheduler(() => run(world, node, model));
    });
}

const unschedulable = (world: World, task: string, message: RegExp) =>
  world.until(task, `Unschedulable with ${message.source}`, (status) => {
    const { phase, reason, message: text = '' } = status;
    return phase === 'Pending' && reason === 'Unschedulable' && message.test(text);
  });

describe('G4 preemption by the scheduler', () => {
  row(
    'G4',
    'a task gives way to one of higher priority, waits for it and is repeated for free',
    inScheduledWorld({ gpus: 1 }, async (world, node, model) => {
      const { namespace } = world.lab;
      const [low, high] = [`low-${namespace}`, `high-${namespace}`];
      await priorityClass(low, 10);
      await priorityClass(high, 1000);
      const released = Promise.withResolvers<void>();
      node.script('low', (attempt) => (attempt === 1 ? { model: 'hangs' } : {}));
      node.script('high', () => ({ until: released.promise }));
      await world.operator({ forced: true, config: { priorityClasses: { Low: low, High: high } } });
      await world.submit('low', { model, priority: 'Low' });
      await world.running('low');
      await world.submit('high', { model, priority: 'High' });
      await world.running('high');
      await unschedulable(world, 'low', /Insufficient nvidia\.com\/gpu/);
      released.resolve();
      await world.sound({ low: 'Succeeded', high: 'Succeeded' });
      const { disruptions, failedAttempts = 0, failures = [] } = (await world.lab.get('low')).status ?? {};
      assert.deepEqual(
        [disruptions, failedAttempts, failures.map(({ category }) => category)],
        [1, 0, ['Disrupted']],
      );
      assert.equal((await world.lab.get('high')).status?.attempt?.number, 1);
    }),
  );
});

describe('G8 no node takes the pod', () => {
  row(
    'G8',
    "no GPU: Pending/Unschedulable with the scheduler's words; it runs when a GPU comes",
    inScheduledWorld({ gpus: 0 }, async (world, node, model) => {
      await world.operator({ forced: true });
      await world.submit('t', { model });
      await unschedulable(world, 't', /Insufficient nvidia\.com\/gpu/);
      await setGpus(node.name, 1);
      const { jobs } = await world.sound({ t: 'Succeeded' });
      assert.equal(jobs.length, 1, 'the same attempt');
    }),
    { smoke: true },
  );

  row(
    'G8/taint',
    'a taint that the model does not tolerate: the same, until it is gone',
    inScheduledWorld({ gpus: 1 }, async (world, node, model) => {
      await setTaint(node.name, 'reserved', { effect: 'NoSchedule' });
      await world.operator({ forced: true });
      await world.submit('t', { model });
      await unschedulable(world, 't', /untolerated taint/);
      await setTaint(node.name, 'reserved');
      const { jobs } = await world.sound({ t: 'Succeeded' });
      assert.equal(jobs.length, 1, 'the same attempt');
    }),
  );

  row(
    'G8/deadline',
    'its own pending deadline ends the wait: Failed/Unschedulable with the reason, and no Job is left',
    inScheduledWorld(
      { gpus: 0 },
      async (world, _node, model) => {
        await world.operator({ forced: true });
        await world.submit('t', { model });
        await unschedulable(world, 't', /Insufficient/);
        const { jobs } = await world.sound({ t: 'Failed' });
        const { reason, message = '' } = (await world.lab.get('t')).status ?? {};
        assert.equal(reason, 'Unschedulable');
        assert.match(message, /Insufficient nvidia\.com\/gpu.*10 s, the pending deadline/s);
        assert.equal(jobs.length, 1);
        assert.deepEqual(await world.lab.jobs('t'), []);
      },
      { failure: { maxAttempts: 2, pendingDeadlineSeconds: 10 } },
    ),
  );
});
