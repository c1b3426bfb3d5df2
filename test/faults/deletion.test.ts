import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { jobVerdict } from '../../src/jobs/views.ts';
import { eventually } from '../support/eventually.ts';
import { type Hands, handsIn, type Policy } from './rig/hands.ts';
import { row } from './rig/row.ts';
import { claimed, isCreation, isLate, running, starting } from './rig/states.ts';
import { publications } from './rig/volume.ts';
import { COPY, type Expected, inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** A task in each phase, by name. */
const PHASES: Readonly<Record<string, (world: World, hands: Hands) => Promise<void>>> = {
  async waiting(world) {
    await world.submit('waiting', { model: modelToCome(world) });
    await world.until('waiting', 'waits for its model', ({ reason }) => reason === 'ModelNotFound');
  },
  claimed: (world) => claimed(world, 3000),
  starting,
  running: (world) => running(world, 1000),
  async retrying(world) {
    world.node.script('retrying', () => ({ model: 'fails' }));
    await world.submit('retrying');
    await world.until('retrying', 'a second attempt', ({ attempt }) => attempt?.number === 2);
  },
  async stopping(world) {
    world.node.script('stopping', () => ({ model: 'hangs', stopMs: 3000 }));
    await world.submit('stopping');
    await world.running('stopping');
    await world.desire('stopping', 'Cancel');
    await world.until('stopping', 'Cancelling', ({ reason }) => reason === 'Cancelling');
  },
  async terminal(world) {
    await world.submit('terminal');
    await world.ended('terminal');
  },
};
const ALL_GONE: Readonly<Record<string, Expected>> = Object.fromEntries(
  Object.keys(PHASES).map((name) => [name, 'gone']),
);

const modelToCome = ({ lab }: World): string => `late-${lab.namespace}`.slice(0, 63);

async function reachEveryPhase(world: World): Promise<Hands> {
  const hands = handsIn(world);
  const { claimed: claim, ...lasting } = PHASES;
  await Promise.all(Object.values(lasting).map((reach) => reach(world, hands)));
  await claim?.(world, hands); // the last one, because it does not last
  return hands;
}

async function everythingGone(world: World): Promise<void> {
  const arrived = () => world.proxy.log.find(isLate);
  await eventually('the late create request has arrived', arrived, RECOVERY_MS);
  await world.sound(ALL_GONE);
  const left = async () => {
    const objects = [...(await world.lab.jobs()), ...(await world.lab.pods())];
    return objects.length === 0 ? true : undefined;
  };
  await eventually('no Job and no pod is left', left, RECOVERY_MS);
}

async function deletedInEveryPhase(world: World, policy: Policy): Promise<void> {
  await world.operator();
  const hands = await reachEveryPhase(world);
  await Promise.all(Object.keys(PHASES).map((task) => hands.remove('analysistasks', task, { policy })));
  await everythingGone(world);
  assert.ok(await isPublished(world, 'terminal'), 'the published outputs went with the task');
  const after = world.proxy.log.length;
  await world.lab.model('late', COPY);
  await world.submit('later');
  await world.ended('later');
  const created = world.proxy.log.slice(after).filter(isCreation);
  assert.equal(created.length, 1, 'a deleted task came back to life');
}

async function isPublished({ node }: World, task: string): Promise<boolean> {
  return (await publications(node.store)).has(task);
}

const FINALIZER = 'example.org/hold';

/** Somebody's finalizer keeps the deleted tasks: long enough for a broken operator to start something for them. */
async function deletedButHeld(world: World): Promise<void> {
  await world.operator();
  const hands = await reachEveryPhase(world);
  const finalizers = (list: readonly string[]): object => ({ metadata: { finalizers: list } });
  for (const task of Object.keys(PHASES)) await hands.patch('analysistasks', task, finalizers([FINALIZER]));
  for (const task of Object.keys(PHASES)) await hands.remove('analysistasks', task);
  const before = world.proxy.log.length;
  await world.lab.model('late', COPY);
  const alive = async () =>
    (await world.lab.pods()).some(({ phase }) => phase !== 'Succeeded' && phase !== 'Failed');
  await eventually('nothing runs', async () => ((await alive()) ? undefined : true), RECOVERY_MS);
  // Another task of the same model goes through its whole life: nothing is left in the operator's queue.
  await world.submit('later', { model: modelToCome(world) });
  await world.ended('later');
  const created = world.proxy.log.slice(before).filter(isCreation);
  const unasked = created.filter((request) => !isLate(request) && !request.body.includes('"later-'));
  assert.deepEqual(unasked, [], 'a Job was created for a deleted task');
  for (const task of Object.keys(PHASES)) {
    assert.equal(await hands.exists('analysistasks', task), true);
    await hands.patch('analysistasks', task, finalizers([]));
  }
  await world.sound({ ...ALL_GONE, later: 'Succeeded' });
}

describe('F4 the task is deleted while it waits, is claimed, starts, runs, is repeated, stops, and after its end', () => {
  const title = 'nothing starts any more, no pod survives, all objects go, published outputs stay';
  for (const policy of ['Background', 'Foreground', 'Orphan'] as const)
    row(`F4/${policy.toLowerCase()}`, title, () =>
      inWorld('gone', (world) => deletedInEveryPhase(world, policy)),
    );
  row('F4/held', "under somebody's finalizer: what runs is stopped and nothing starts", () =>
    inWorld('held', deletedButHeld),
  );
});

async function uninstalled(world: World, remove: (hands: Hands) => Promise<void>): Promise<void> {
  const operator = await world.operator();
  const hands = await reachEveryPhase(world);
  await operator.stop('SIGTERM');
  await remove(hands);
}

async function deletedWithoutOperator(world: World): Promise<void> {
  await uninstalled(world, async (hands) => {
    for (const task of Object.keys(PHASES)) await hands.remove('analysistasks', task);
  });
  await everythingGone(world);
}

async function namespaceDeletedWithoutOperator(world: World): Promise<void> {
  const path = `/api/v1/namespaces/${world.lab.namespace}`;
  const { api } = controlPlane();
  await uninstalled(world, async () => void expectOk(await api.call('DELETE', path)));
  const gone = async () => ((await api.call('GET', path)).status === 404 ? true : undefined);
  await eventually('the namespace is gone', gone, RECOVERY_MS);
}

/** What a new operator finds: tasks in every phase, one that ended meanwhile, and Jobs that lost their tasks. */
async function takenOver(world: World): Promise<void> {
  world.node.script('meanwhile', () => ({ runMs: 2000 }));
  const first = await world.operator();
  const hands = await reachEveryPhase(world);
  await world.submit('meanwhile');
  await world.submit('orphaned');
  await world.submit('forgotten');
  world.node.script('forgotten', () => ({ model: 'hangs' }));
  for (const task of ['meanwhile', 'orphaned', 'forgotten']) await hands.pod(task);
  await first.stop('SIGTERM');
  const orphans = [await hands.job('orphaned'), await hands.job('forgotten')];
  for (const task of ['orphaned', 'forgotten'])
    await hands.remove('analysistasks', task, { policy: 'Orphan' });
  for (const task of ['orphaned', 'forgotten']) await hands.gone('analysistasks', task);
  const ended = async () =>
    (await world.lab.jobs('meanwhile')).some((job) => jobVerdict(job) !== 'unfinished');
  await eventually('a Job that ends unobserved', async () => ((await ended()) ? true : undefined));
  await world.operator();
  await world.lab.model('late', COPY);
  for (const task of ['starting', 'running'])
    expectOk(await world.lab.patchTask(task, { spec: { desired: 'Cancel' } }));
  await world.sound({
    waiting: 'Succeeded',
    claimed: 'Succeeded',
    starting: 'Cancelled',
    running: 'Cancelled',
    retrying: 'Failed',
    stopping: 'Cancelled',
    terminal: 'Succeeded',
    meanwhile: 'Succeeded',
    orphaned: 'gone',
    forgotten: 'gone',
  });
  for (const { metadata } of orphans) await hands.gone('jobs', metadata.name);
}

describe('F11 the operator is uninstalled with work in flight', () => {
  row('F11/delete', 'every task can be deleted, and nothing survives it', () =>
    inWorld('without', deletedWithoutOperator),
  );
  row('F11/namespace', 'the namespace can be deleted: no finalizer is stuck', () =>
    inWorld('without', namespaceDeletedWithoutOperator),
  );
  row('F11/again', 'a new operator takes over what is left, and removes what lost its task', () =>
    inWorld('without', takenOver),
  );
});
