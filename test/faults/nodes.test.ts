import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe } from 'mocha';
import type { TaskStatus } from '../../src/api/task.ts';
import { z } from 'zod';
import { STAGING } from '../../src/api/request.ts';
import { sha256 } from '../../src/lib/hash.ts';
import { eventually } from '../support/eventually.ts';
import { deleteNode, forceAway, setReady, setTaint } from './rig/disruptions.ts';
import type { PlayedNode } from './rig/node.ts';
import { row } from './rig/row.ts';
import { DATASET } from './rig/volume.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** A model whose pods give up a silent node after a second instead of the five minutes of the API server's default. */
const impatient = (key: string) => ({
  key: `node.kubernetes.io/${key}`,
  operator: 'Exists' as const,
  effect: 'NoExecute' as const,
  tolerationSeconds: 1,
});
const IMPATIENT = {
  run: {
    per: 'File' as const,
    command: ['cp', '{input}', '{output}'],
    terminationGracePeriodSeconds: 1,
  },
  tolerations: [impatient('unreachable'), impatient('not-ready')],
};
const NOTICED_SOON = { nodeLost: { afterSeconds: 1 } };
const FORCED_SOON = { nodeLost: { afterSeconds: 1, forceDeleteAfterSeconds: 1 } };
/** Long enough for an operator that acts too early to act. */
const HOLD_MS = 4000;
const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

/**
 * Runs a task and takes its node away under it, as the node controller sees it. A second node is ready for whatever
 * pod comes next: an operator that starts one too early really runs the model twice.
 */
async function loseNode(world: World, task: string, how: 'cutOff' | 'crash'): Promise<PlayedNode> {
  const { node } = world;
  const spare = await world.addNode({ prefix: 'spare' });
  spare.cutOff(true); // it must not get the first pod
  await world.submit(task);
  await world.running(task);
  if (how === 'crash') node.crash();
  else node.cutOff(true);
  spare.cutOff(false);
  await setReady(node.name, 'Unknown');
  return spare;
}

const nodeLost = (world: World, task: string): Promise<TaskStatus> =>
  world.until(task, 'NodeLost', ({ reason }) => reason === 'NodeLost');

/** What a task tells when its only loss was that of a node. */
async function lostOneAttempt({ lab }: World, task: string, category: string): Promise<void> {
  const { attempt, disruptions, failedAttempts = 0, failures = [] } = (await lab.get(task)).status ?? {};
  assert.deepEqual(
    { attempt: attempt?.number, disruptions, failedAttempts, failures: failures.map((f) => f.category) },
    { attempt: 2, disruptions: 1, failedAttempts: 0, failures: [category] },
  );
}

const inLostWorld = (run: (world: World) => Promise<void>) => () => inWorld('lost', run, IMPATIENT);

describe('G1 the node of a running pod is lost', () => {
  row(
    'G1',
    'the task says NodeLost and nothing else starts until the node is back; then a free attempt follows',
    inLostWorld(async (world) => {
      const { node, lab } = world;
      node.script('t', (attempt) => (attempt === 1 ? { model: 'hangs' } : {}));
      const first = await world.operator({ forced: true, config: NOTICED_SOON });
      const spare = await loseNode(world, 't', 'cutOff');
      const { message = '' } = await nodeLost(world, 't');
      assert.match(message, new RegExp(`${node.name}.*out-of-service`));
      const [pod] = await lab.pods();
      const target = pod?.conditions.find(({ type }) => type === 'DisruptionTarget');
      assert.equal(target?.reason, 'DeletionByTaintManager', 'the real controller told the pod to go');
      await first.stop('SIGKILL');
      await world.operator({ forced: true, config: NOTICED_SOON });
      await pause(HOLD_MS);
      const { jobs, pods } = await world.history();
      assert.deepEqual([jobs.length, pods.length, spare.ledger.length], [1, 1, 0], 'the old pod may live');
      node.cutOff(false);
      await setReady(node.name, 'True');
      await world.sound({ t: 'Succeeded' });
      await lostOneAttempt(world, 't', 'Disrupted');
    }),
    { smoke: true },
  );

  row(
    'G1/finished',
    'work that the node finished while it was cut off counts when it is back',
    inLostWorld(async (world) => {
      const { node, lab } = world;
      const done = Promise.withResolvers<void>();
      node.script('t', () => ({ until: done.promise }));
      await world.operator({ forced: true, config: NOTICED_SOON });
      const spare = await loseNode(world, 't', 'cutOff');
      await nodeLost(world, 't');
      done.resolve();
      await eventually('publish ended', () => node.ledger[0]?.published);
      node.cutOff(false);
      await setReady(node.name, 'True');
      const { jobs } = await world.sound({ t: 'Succeeded' });
      assert.equal(jobs.length, 1);
      assert.equal(spare.ledger.length, 0);
      assert.equal((await lab.get('t')).status?.attempt?.number, 1);
    }),
  );

  row(
    'G1/out-of-service',
    'a node that an administrator taints as out of service lets the task go on elsewhere',
    inLostWorld(async (world) => {
      const { node } = world;
      await world.operator({ forced: true, config: NOTICED_SOON });
      node.script('t', () => ({ model: 'hangs' }));
      await loseNode(world, 't', 'crash');
      await nodeLost(world, 't');
      await setTaint(node.name, OUT_OF_SERVICE, { value: 'nodeshutdown', effect: 'NoExecute' });
      await world.sound({ t: 'Succeeded' });
      await lostOneAttempt(world, 't', 'Disrupted');
    }),
  );

  row(
    'G3/pod-gc',
    'a node whose object is deleted takes its pods along (pod garbage collection); a free attempt follows',
    () =>
      inWorld('gone', async (world) => {
        const { node } = world;
        await world.operator({ forced: true });
        node.script('t', () => ({ model: 'hangs' }));
        await world.submit('t');
        await world.running('t');
        node.crash();
        await world.addNode({ prefix: 'spare' });
        await deleteNode(node.name);
        await world.sound({ t: 'Succeeded' });
        await lostOneAttempt(world, 't', 'Disrupted');
      }),
  );

  row(
    'G1/force-delete',
    'if so configured, the pod of a lost node is removed after a while and a free attempt follows',
    inLostWorld(async (world) => {
      world.node.script('t', () => ({ model: 'hangs' }));
      await world.operator({ forced: true, config: FORCED_SOON });
      await loseNode(world, 't', 'crash');
      const { deletions } = await world.sound({ t: 'Succeeded' });
      await lostOneAttempt(world, 't', 'NodeLost');
      assert.deepEqual(
        deletions.map(({ resource }) => resource),
        ['jobs', 'pods'],
        'each once, the Job first: it holds on to its pod',
      );
    }),
    { smoke: true },
  );

  row(
    'G1/forced-by-hand',
    'an administrator who forces the pod of a lost node away thereby lets the task go on',
    inLostWorld(async (world) => {
      const { node, lab } = world;
      node.script('t', () => ({ model: 'hangs' }));
      await world.operator({ forced: true, config: NOTICED_SOON });
      await loseNode(world, 't', 'crash');
      await nodeLost(world, 't');
      for (const pod of await lab.pods()) await forceAway(pod);
      await world.sound({ t: 'Succeeded' });
      await lostOneAttempt(world, 't', 'NodeLost');
    }),
  );

  row(
    'G1/cancel',
    'a task on a lost node that is cancelled says why it waits, and is Cancelled when the node is back',
    inLostWorld(async (world) => {
      const { node, lab } = world;
      node.script('t', () => ({ model: 'hangs' }));
      await world.operator({ forced: true, config: NOTICED_SOON });
      await loseNode(world, 't', 'cutOff');
      await nodeLost(world, 't');
      await lab.patchTask('t', { spec: { desired: 'Cancel' } });
      const { phase } = await world.until(
        't',
        'why it waits',
        ({ reason, message = '' }) => reason === 'Cancelling' && message.includes(node.name),
      );
      assert.equal(phase, 'Running', 'it may still run');
      node.cutOff(false);
      await world.sound({ t: 'Cancelled' });
    }),
  );

  row(
    'G1/restarted',
    'kubelet runs all containers of a pod once more, however late: the same attempt succeeds',
    () =>
      inWorld(
        'restart',
        async (world) => {
          const { node, lab } = world;
          // Longer than the pending deadline: an attempt that has started is not pending any more.
          const onRestart = async () =>
            void (await world.until(
              't',
              'a new start of the same attempt',
              (status) => status.phase === 'Running' && status.reason === 'Starting',
            ));
          node.script('t', () => ({ runMs: 11_000, onRestart }));
          await world.operator({ forced: true });
          await world.submit('t');
          await world.sound({ t: 'Succeeded' });
          assert.equal(node.ledger.length, 2, 'the model really ran twice, one after the other');
          assert.equal((await lab.get('t')).status?.attempt?.number, 1);
          assert.equal((await lab.get('t')).status?.progress?.summary, '2/2');
        },
        {
          run: { per: 'File', command: ['sh', '-c', 'sleep 7; cp "$1" "$2"', 'slow', '{input}', '{output}'] },
          failure: { maxAttempts: 1, pendingDeadlineSeconds: 10 },
        },
      ),
  );
});

const manifest = z.object({ attempt: z.number() });

/** What readers of the results see, which must be what the task points to. */
async function published({ node }: World, task: string): Promise<{ sha256: string; attempt: number }> {
  const file = join(node.store, DATASET, STAGING.outputs, task, 'manifest.json');
  const text = await readFile(file, 'utf8');
  return { sha256: sha256(text), attempt: manifest.parse(JSON.parse(text)).attempt };
}

/** The task's result is what is published, by this attempt, and nothing changed it since `before`. */
async function resultIs(world: World, attempt: number, before?: { sha256: string }): Promise<void> {
  const now = await published(world, 't');
  const told = (await world.lab.get('t')).status?.result?.manifestSha256;
  assert.deepEqual({ ...now, told }, { sha256: before?.sha256 ?? now.sha256, attempt, told: now.sha256 });
}

/** The node was given up although its container runs: that two run at once is then the price, and one result the promise. */
const isOverlap = (violation: string): boolean => violation.startsWith('I3');

describe('G2 a zombie: a pod that was given up with its node runs to its end', () => {
  row(
    'G2',
    'it ends after its replacement has published: the published result stays as it is',
    inLostWorld(async (world) => {
      const { node } = world;
      const wakes = Promise.withResolvers<void>();
      node.script('t', () => ({ until: wakes.promise }));
      await world.operator({ forced: true, config: FORCED_SOON });
      await loseNode(world, 't', 'cutOff');
      await world.ended('t');
      const before = await published(world, 't');
      wakes.resolve();
      await eventually('the zombie has published', () => node.ledger[0]?.published);
      node.cutOff(false);
      await setReady(node.name, 'True');
      await world.sound({ t: 'Succeeded' }, isOverlap);
      await resultIs(world, 2, before);
    }),
  );

  row(
    'G2/first',
    'it publishes while its replacement runs: the replacement finds the result and adds nothing',
    inLostWorld(async (world) => {
      const { node } = world;
      const wakes = Promise.withResolvers<void>();
      const replacementEnds = Promise.withResolvers<void>();
      node.script('t', () => ({ until: wakes.promise }));
      await world.operator({ forced: true, config: FORCED_SOON });
      const spare = await loseNode(world, 't', 'cutOff');
      spare.script('t', () => ({ until: replacementEnds.promise }));
      await eventually('the replacement runs', () => spare.ledger[0], RECOVERY_MS);
      wakes.resolve();
      assert.equal(await eventually('the zombie has published', () => node.ledger[0]?.published), 0);
      const before = await published(world, 't');
      replacementEnds.resolve();
      await world.sound({ t: 'Succeeded' }, isOverlap);
      await resultIs(world, 1, before);
    }),
  );

  row(
    'G2/before',
    'it publishes before its replacement begins: the model does not run a second time',
    inLostWorld(async (world) => {
      const { node } = world;
      const wakes = Promise.withResolvers<void>();
      node.script('t', () => ({ until: wakes.promise }));
      await world.operator({ forced: true, config: FORCED_SOON });
      const spare = await loseNode(world, 't', 'cutOff');
      spare.cutOff(true);
      await world.until('t', 'a second attempt', ({ attempt }) => attempt?.number === 2);
      wakes.resolve();
      assert.equal(await eventually('the zombie has published', () => node.ledger[0]?.published), 0);
      spare.cutOff(false);
      await world.sound({ t: 'Succeeded' });
      assert.equal(spare.ledger.length, 0);
      await resultIs(world, 1);
    }),
  );
});
