import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'mocha';
import { z } from 'zod';
import { recheckOutputs } from '../../src/agent/recheck.ts';
import { STAGING } from '../../src/api/request.ts';
import { runName } from '../../src/elsi/run.ts';
import { eventually } from '../support/eventually.ts';
import type { Behaviour } from './rig/containers.ts';
import { type ElsiWorld, inElsiWorld } from './rig/elsi.ts';
import { came, ends, endOnly, withSink } from './rig/hook.ts';
import { leads } from './rig/measure.ts';
import { row } from './rig/row.ts';
import { idsOf, says, taken, wordsOf } from './rig/sink.ts';
import { fromPrevious, startPrevious, type Upgrade, writesNothing } from './rig/versions.ts';
import { DATASET } from './rig/volume.ts';
import { endsOf, type LifeName, runLives } from './rig/workload.ts';
import { COPY, inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/*
 * The operator of the previous commit (or of the one that UPGRADE_FROM names), from its own sources and with its own
 * CRDs and agent, is replaced by the present one, rolled back and replaced again, while there is work in flight.
 */

const THERE_AND_BACK = ['forward', 'back', 'forward'] as const;
const LIVES: readonly LifeName[] = [
  'ok',
  'retried',
  'fails',
  'cancelled',
  'paused',
  'evicted',
  'early',
  'invalid',
];

/** Lets models run until it is opened. */
function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, opened: promise };
}

/** Runs each life and one task more that is running before the change and ends after it. */
async function acrossChange(world: World, change: () => Promise<void>, wave: number) {
  const lives = Object.fromEntries(LIVES.map((life) => [`${life}-${wave}`, life]));
  const across = `across-${wave}`;
  const { open, opened } = gate();
  world.node.script(across, () => ({ until: opened }));
  await world.submit(across);
  await world.running(across);
  const users = runLives(world, lives, { runMs: 1500 });
  await change();
  open();
  return { users, expected: { ...endsOf(lives), [across]: 'Succeeded' as const }, across };
}

describe('E6 the previous version, upgraded and rolled back with work in flight', () => {
  row('E6/previous', 'there, back and there again while the whole workload runs', () =>
    fromPrevious((previous) =>
      inWorld('upgrade', async (world) => {
        const upgrade = await startPrevious(world, previous);
        const waves: Awaited<ReturnType<typeof acrossChange>>[] = [];
        for (const [index, change] of THERE_AND_BACK.entries())
          waves.push(await acrossChange(world, upgrade[change], index + 1));
        await Promise.all(waves.map(({ users }) => users));
        await world.sound(Object.assign({}, ...waves.map(({ expected }) => expected)));
        for (const { across } of waves) {
          const runs = world.node.ledger.filter(({ task }) => task === across);
          assert.equal(runs.length, 1, `${across} ran once`);
        }
      }),
    ),
  );

  row(
    'E6/previous-held',
    'what runs, waits or is suspended is left alone by each version: no write, no Job, no pod',
    () =>
      fromPrevious((previous) =>
        inWorld('held', async (world) => held(world, await startPrevious(world, previous))),
      ),
    { smoke: true },
  );

  for (const [name, change, first] of [
    ['forward', 'forward', 'the previous version'],
    ['back', 'back', 'this version, after which it was rolled back'],
  ] as const)
    row(
      `E6/previous-retry-${name}`,
      `the first attempt fails under ${first}, the second one is the other's: the result is right`,
      () =>
        fromPrevious((previous) =>
          inWorld('handed', async (world) => {
            const upgrade = await startPrevious(world, previous);
            if (change === 'back') await upgrade.forward();
            await failsOnce(world, upgrade[change]);
          }),
        ),
    );

  row(
    'E6/previous-callbacks',
    'ends that one version could not tell are told by the other, under one id',
    () =>
      fromPrevious((previous) =>
        withSink(async (world, sink) => {
          const upgrade = await startPrevious(world, previous, sink.config(endOnly));
          const accepted: string[] = [];
          for (const [index, change] of THERE_AND_BACK.entries()) {
            const task = `told-${index}`;
            const before = sink.deliveries.length;
            sink.answer(says(503));
            await world.submit(task, { callbacks: ['lab'] });
            await ends(world, task);
            await came(sink, before + 1);
            await upgrade[change]();
            sink.answer((response, { event }) => {
              accepted.push(event.id);
              taken(response);
            });
            await world.ended(task);
          }
          await world.sound({ 'told-0': 'Succeeded', 'told-1': 'Succeeded', 'told-2': 'Succeeded' });
          assert.deepEqual(
            accepted,
            idsOf(sink.deliveries),
            'each end was accepted once, under its first id',
          );
          assert.equal(accepted.length, 3);
          assert.deepEqual([...new Set(wordsOf(sink.deliveries))], ['succeeded']);
        }),
      ),
  );

  row(
    'E6/previous-elsi',
    'the operator and elsi-sync change with tasks of ELSI in flight: each end is told once',
    () =>
      fromPrevious((previous) =>
        inElsiWorld(async (elsi) => changesUnderElsi(elsi, await startPrevious(elsi.world, previous)), {
          operator: false,
        }),
      ),
  );
});

const HELD = 6;

async function held(world: World, upgrade: Upgrade): Promise<void> {
  const { lab, node } = world;
  const { open, opened } = gate();
  const until: Behaviour = { until: opened };
  node.script('runs', () => until);
  node.script('waits', () => ({ model: 'waits' }));
  node.script('paused', (attempt) => (attempt === 1 ? { model: 'hangs' } : {}));
  node.script('retries', (attempt) => (attempt === 1 ? { model: 'fails' } : until));
  await world.submit('lacks-model', { model: `later-${lab.namespace}` });
  await world.submit('suspended', { desired: 'Suspend' });
  for (const task of ['runs', 'waits', 'paused', 'retries']) await world.submit(task);
  await world.running('paused');
  await world.desire('paused', 'Suspend');
  await world.running('runs');
  await world.until(
    'retries',
    'its second attempt',
    ({ phase, attempt }) => phase === 'Running' && attempt?.number === 2,
  );
  for (const task of ['suspended', 'paused'])
    await world.until(task, 'Suspended', ({ reason }) => reason === 'Suspended');
  await world.until('lacks-model', 'ModelNotFound', ({ reason }) => reason === 'ModelNotFound');
  await writesNothing(world, upgrade.operator(), 2 * HELD);
  const alive = await uidsOf(world);
  for (const change of THERE_AND_BACK) {
    await upgrade[change]();
    await writesNothing(world, upgrade.operator(), 2 * HELD);
    assert.deepEqual(await uidsOf(world), alive, `the Jobs and pods after going ${change}`);
  }
  await lab.model('later', COPY);
  for (const task of ['suspended', 'paused']) await world.desire(task, 'Run');
  await world.desire('waits', 'Cancel');
  open();
  const rest = { runs: 'Succeeded', suspended: 'Succeeded', paused: 'Succeeded' } as const;
  await world.sound({ ...rest, retries: 'Succeeded', 'lacks-model': 'Succeeded', waits: 'Cancelled' });
}

/** Jobs and pods that are there, by UID. */
async function uidsOf({ lab }: World): Promise<string[]> {
  const objects = [...(await lab.jobs()), ...(await lab.pods())];
  return objects.map(({ metadata }) => metadata.uid).toSorted((a, b) => a.localeCompare(b));
}

const manifest = z.object({
  attempt: z.number(),
  units: z.array(z.object({ name: z.string(), outcome: z.string() })),
});

/** Its model fails on one of two recordings; the change comes before anybody learns of that, the repair too. */
async function failsOnce(world: World, change: () => Promise<void>): Promise<void> {
  const { lab, node } = world;
  const [ran, repaired] = [join(node.store, 'ran'), join(node.store, 'repaired')];
  const script = `echo "$1" >>${ran}; case $1 in *b.wav) test -e ${repaired} || exit 3;; esac; exec cp "$1" "$2"`;
  const run = { per: 'File' as const, command: ['sh', '-c', script, 'careful', '{input}', '{output}'] };
  const model = await lab.model('careful', { ...COPY, run });
  const { open, opened } = gate();
  node.script('task', (attempt) => (attempt === 1 ? { observed: true, until: opened } : {}));
  const runs = async (name: string): Promise<number> => {
    const text = await readFile(ran, 'utf8').catch(() => '');
    return text.split('\n').filter((line) => line.endsWith(`/${name}`)).length;
  };
  await world.submit('task', { model });
  await world.running('task');
  await eventually('the model has failed', async () => (await runs('b.wav')) === 1 || undefined, RECOVERY_MS);
  await change();
  await writeFile(repaired, '');
  open();
  await world.sound({ task: 'Succeeded' });
  const { result, failures } = (await lab.get('task')).status ?? {};
  assert.deepEqual(
    failures?.map(({ attempt, category }) => [attempt, category]),
    [[1, 'ModelError']],
  );
  const outputs = join(node.store, DATASET, STAGING.outputs, 'task');
  const drift: string[] = [];
  const sha = result?.manifestSha256;
  assert.ok(sha);
  await recheckOutputs(outputs, {
    concurrency: 2,
    manifestSha256: sha,
    onDrift: ({ path }) => drift.push(path),
  });
  assert.deepEqual(drift, []);
  const { attempt, units } = manifest.parse(
    JSON.parse(await readFile(join(outputs, 'manifest.json'), 'utf8')),
  );
  const outcomes = Object.fromEntries(units.map(({ name, outcome }) => [name, outcome]));
  // A version that plans otherwise may compute again what the other one had; it may not say that it did not.
  const again = (await runs('a.wav')) === 1 ? 'Reused' : 'Done';
  assert.deepEqual([attempt, outcomes], [2, { 'a.wav': again, 'b.wav': 'Done' }]);
  assert.equal(await runs('b.wav'), 2);
}

/** A task runs over each change; its end comes while no elsi-sync is there, and the next version of it tells it. */
async function changesUnderElsi(elsi: ElsiWorld, upgrade: Upgrade): Promise<void> {
  const old = { source: upgrade.previous.directory };
  let sync = await elsi.sync(old);
  await leads(sync);
  const uids: string[] = [];
  for (const change of THERE_AND_BACK) {
    const uid = elsi.submit();
    uids.push(uid);
    const { open, opened } = gate();
    elsi.world.node.script(runName(uid, 1), () => ({ until: opened }));
    await elsi.shows(uid, 'RUNNING');
    await upgrade[change]();
    assert.equal(await sync.stop(), 0);
    open();
    await elsi.reaches(uid, 'Succeeded');
    sync = await elsi.sync(change === 'back' ? old : {});
    await elsi.shows(uid, 'COMPLETED');
  }
  await elsi.complete(...uids);
  await elsi.polls(3);
  const told = elsi.standIn.audit.filter(({ status }) => status === 'COMPLETED').map(({ uid }) => uid);
  assert.deepEqual(told.toSorted(), uids.toSorted(), 'each end was told once');
  for (const uid of uids) assert.equal(elsi.runs(uid), 1);
}
