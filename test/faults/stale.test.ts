import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { messageOf } from '../../src/controller/settle.ts';
import { isAlive, type JobView, jobVerdict } from '../../src/jobs/views.ts';
import { eventually } from '../support/eventually.ts';
import { looksAgain } from './rig/again.ts';
import { forceLists, isRunning, KINDS, refused, refuseLists } from './rig/past.ts';
import type { Behaviour } from './rig/containers.ts';
import { row } from './rig/row.ts';
import type { Seen, WatchLine } from './rig/rules.ts';
import { isWrite } from './rig/given.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

describe('B2 the watches of tasks and Jobs stand still while a Job finishes and goes away', () => {
  row('B2/deleted', 'a finished Job deleted by hand is not created again, and its result counts', () =>
    inWorld('unseen', deletedUnseen),
  );
  row('B2/expired', 'a task that another leader finished and expired is not begun again', () =>
    inWorld('expired', expiredUnseen),
  );
});

async function deletedUnseen(world: World): Promise<void> {
  const { lab, node, proxy } = world;
  const ending = Promise.withResolvers<void>();
  node.script('unseen', () => ({ until: ending.promise }));
  const operator = await world.operator();
  await lastHeard(world, 'unseen', 'Running', () => world.submit('unseen'));
  proxy.freeze('jobs');
  ending.resolve();
  const { metadata } = await completed(world, 'unseen');
  await lab.deleteJob(metadata.name);
  await areGone(world);
  await looksAgain(world, operator);
  assert.equal((await world.history()).jobs.length, 1, 'absence was not believed');
  proxy.thaw();
  await world.sound({ unseen: 'Succeeded' });
  assert.equal(node.ledger.length, 1, 'the model ran once');
}

async function expiredUnseen(world: World): Promise<void> {
  const { node, proxy } = world;
  const ending = Promise.withResolvers<void>();
  node.script('expired', () => ({ until: ending.promise }));
  const lagging = await world.operator({ forced: true });
  await lastHeard(world, 'expired', 'Running', () => world.submit('expired', { ttlSecondsAfterSettled: 0 }));
  // What it cannot write it does not remember either: nothing but the server and its own care keep it from beginning.
  const matches = ({ method, path }: Seen) =>
    method === 'PUT' && path.endsWith('/analysistasks/expired/status');
  const fault = { do: 'reply', status: 409, reason: 'Conflict' } as const;
  const mute = proxy.inject({ matches, fault, times: Number.POSITIVE_INFINITY });
  ending.resolve();
  const fresh = await world.anotherProxy();
  const finisher = await world.operator({ forced: true, proxy: fresh });
  await endedOrExpired(world);
  await finisher.stop();
  // It looks for expired tasks when it starts; the one before may have looked late enough.
  const expirer = await world.operator({ forced: true, proxy: fresh });
  await areGone(world);
  await expirer.stop();
  mute.remove();
  await looksAgain(world, lagging);
  proxy.thaw();
  const history = await world.sound({ expired: 'gone' });
  assert.deepEqual([history.jobs.length, history.pods.length, node.ledger.length], [1, 1, 1]);
}

async function endedOrExpired({ lab }: World): Promise<void> {
  const isOver = () =>
    lab.get('expired').then(
      ({ status }) => status?.settled || undefined,
      (error: unknown) => /refused with 404/.test(messageOf(error)) || undefined,
    );
  await eventually('the task has ended', isOver, RECOVERY_MS);
}

const statusLine = z.object({ status: z.object({ reason: z.string().optional() }).optional() });

/** Does something; the operator hears of the task until it has this reason, that included, and of no task after that. */
async function lastHeard(
  { proxy }: World,
  task: string,
  reason: string | undefined,
  act: () => Promise<unknown>,
): Promise<void> {
  const matches = ({ resource, name, object }: WatchLine): boolean =>
    resource === 'analysistasks' && name === task && statusLine.parse(object).status?.reason === reason;
  const last = proxy.tamper({ matches, fault: 'last' });
  await act();
  const isHeard = () => (last.hits() > 0 ? true : undefined);
  await eventually(`${reason ?? task} is the last that it hears`, isHeard, RECOVERY_MS);
}

/** Waits until no Job and no pod is left. */
async function areGone({ lab }: World): Promise<void> {
  const none = async () => ((await lab.jobs()).length + (await lab.pods()).length === 0 ? true : undefined);
  await eventually('Job and pod are gone', none, RECOVERY_MS);
}

/** Waits until the one Job of a task is complete. */
async function completed({ lab }: World, task: string): Promise<JobView> {
  const done = async () => (await lab.jobs(task)).find((job) => jobVerdict(job) === 'complete');
  return eventually(`the Job of ${task} completes`, done, RECOVERY_MS);
}

describe('B3 a task is deleted and made again under its name while an operator still sees the old one', () => {
  const title = 'the cancelled old one does no harm to the new one';
  row('B3', title, () => inWorld('twin', twins));
});

async function twins(world: World): Promise<void> {
  const { lab, node, proxy } = world;
  const ending = Promise.withResolvers<void>();
  node.script('twin', () => ({ until: ending.promise }));
  const lagging = await world.operator({ forced: true });
  await world.submit('twin');
  const old = await world.running('twin');
  const cancel = () => lab.patchTask('twin', { spec: { desired: 'Cancel' } });
  await lastHeard(world, 'twin', 'Cancelling', cancel);
  await lab.deleteTask('twin');
  await areGone(world);
  await world.submit('twin');
  await world.operator({ forced: true, proxy: await world.anotherProxy() });
  const { attempt } = await world.running('twin');
  assert.notEqual(attempt?.jobName, old.attempt?.jobName, 'another task, another Job');
  await looksAgain(world, lagging);
  const [pod] = (await lab.pods()).filter(isAlive);
  assert.equal(pod?.metadata.deletionTimestamp, undefined, 'the new pod goes on');
  ending.resolve();
  await world.ended('twin');
  proxy.thaw();
  const history = await world.sound({ twin: 'Succeeded' });
  const uids = new Set(history.jobs.map(({ owner }) => owner));
  assert.deepEqual([uids.size, history.jobs.length, history.pods.length], [2, 2, 2]);
  const deleted = history.deletions.filter(({ name, code }) => name === attempt?.jobName && code === 200);
  assert.deepEqual(deleted, [], 'nobody deleted the new Job');
}

describe('B5 an operator sees an older copy of a task than it has written', () => {
  const title = 'it waits for its own write to come back instead of deciding again';
  row('B5', title, () => inWorld('echo', echo), { smoke: true });
});

async function echo(world: World): Promise<void> {
  const { lab, proxy } = world;
  const ending = Promise.withResolvers<void>();
  world.node.script('echo', () => ({ until: ending.promise }));
  // Not the claim: after that one the Job itself tells how old the copy is.
  const matches = isWrite('echo', 'status Running/Running 1+job');
  const freeze = () => proxy.freeze('analysistasks');
  // Frozen before the write is carried out: nothing of it comes back.
  proxy.inject({ matches, fault: { do: 'delay', ms: 0 }, onHit: freeze });
  const operator = await world.operator();
  await world.submit('echo');
  await world.running('echo');
  const { metadata } = await lab.get('echo');
  ending.resolve();
  await completed(world, 'echo');
  await looksAgain(world, operator);
  assert.equal((await lab.get('echo')).metadata.resourceVersion, metadata.resourceVersion, 'it waits');
  assert.deepEqual(refused(await world.history()), [], 'it did not try to write by an old copy');
  proxy.thaw();
  const history = await world.sound({ echo: 'Succeeded' });
  assert.deepEqual(refused(history), []);
  assert.equal(history.jobs.length, 1);
}

describe('B6 lists are refused because the cache is too old', () => {
  const title = 'after "Too large resource version" it lists again until it gets the present';
  row('B6/too-large', title, () => inWorld('large', tooLarge));
});

async function tooLarge(world: World): Promise<void> {
  const { proxy } = world;
  refuseLists(proxy, 1);
  await world.operator({ forced: true });
  const answers = proxy.log.filter(({ status }) => status === 504).length;
  assert.equal(answers, KINDS.length, 'each first list was refused, and the operator got ready nevertheless');
  const ending = Promise.withResolvers<void>();
  world.node.script('waits', () => ({ until: ending.promise }));
  await world.submit('waits');
  await world.running('waits');
  const again = refuseLists(proxy, 2);
  forceLists(proxy);
  ending.resolve();
  await world.submit('meanwhile');
  await world.sound({ waits: 'Succeeded', meanwhile: 'Succeeded' });
  assert.deepEqual(
    again.map((rule) => rule.hits()),
    KINDS.map(() => 2),
    'each list was tried until it was answered',
  );
}

describe('B7 the caches of pods and of Jobs are not equally old', () => {
  row('B7/pods-first', 'a pod whose Job is not known yet is no orphan, and its end no loss', () =>
    inWorld('ahead', (world) => ahead(world, 'jobs')),
  );
  row('B7/jobs-first', 'a finished Job whose pod is not known yet gets its verdict from the pod', () =>
    inWorld('ahead', (world) => ahead(world, 'pods')),
  );
});

/** Whole lives of tasks while one kind of event does not arrive. */
async function ahead(world: World, missing: 'jobs' | 'pods'): Promise<void> {
  const { node, lab, proxy } = world;
  node.script('fails', () => ({ model: 'fails' }));
  node.script('retried', (attempt) => ({ model: attempt === 1 ? 'fails' : 'succeeds' }));
  const tasks = ['fine', 'fails', 'retried'];
  proxy.freeze(missing);
  await world.operator();
  for (const task of tasks) await world.submit(task);
  await Promise.all(tasks.map((task) => world.ended(task)));
  const ends = await Promise.all(tasks.map(async (task) => (await lab.get(task)).status));
  const verdicts = ends.map((status) => (status?.failures ?? []).map(({ category }) => category));
  assert.deepEqual(
    verdicts,
    [[], ['ModelError', 'ModelError'], ['ModelError']],
    'each verdict has its evidence',
  );
  assert.deepEqual(
    ends.map((status) => status?.result?.manifestSha256 !== undefined),
    [true, false, true],
  );
  proxy.thaw();
  const history = await world.sound({ fine: 'Succeeded', fails: 'Failed', retried: 'Succeeded' });
  assert.deepEqual(history.deletions, []);
}

interface Handover {
  /** The last that the one leader hears of the task; undefined: that it exists. */
  readonly reason: string | undefined;
  /** What the attempt does that is over when the other leader starts the next one; absent: there was none. */
  readonly before?: Behaviour;
  /** Brings the task to where the one leader stops hearing of it. */
  readonly provoke?: (world: World) => Promise<unknown>;
  /** Brings it on when the other leader has taken over. */
  readonly goOn?: (world: World) => Promise<unknown>;
}

const HANDOVERS: Readonly<Record<string, Handover>> = {
  begin: { reason: undefined },
  retry: { reason: 'Retrying', before: { model: 'fails' } },
  stopping: {
    reason: 'Stopping',
    before: { model: 'hangs', stopMs: 3000 },
    provoke: async ({ lab }) => lab.deleteJob((await lab.jobs('ours'))[0]?.metadata.name ?? ''),
  },
  suspend: {
    reason: 'Suspending',
    before: { model: 'hangs', stopMs: 3000 },
    provoke: ({ lab }) => lab.patchTask('ours', { spec: { desired: 'Suspend' } }),
    async goOn(world) {
      await world.until('ours', 'Suspended', ({ reason }) => reason === 'Suspended');
      await world.lab.patchTask('ours', { spec: { desired: 'Run' } });
    },
  },
};

describe('B7 of two leaders one hears of pods, but no more of tasks and Jobs', () => {
  for (const [name, handover] of Object.entries(HANDOVERS)) {
    const title = 'it leaves the pod alone that the other one started';
    const run = () => inWorld('leaders', (world) => twoLeaders(world, handover));
    row(`B7/two-leaders-${name}`, title, run, { smoke: name === 'retry' });
  }
});

async function twoLeaders(world: World, { reason, before, provoke, goOn }: Handover): Promise<void> {
  const { node, lab, proxy } = world;
  const ending = Promise.withResolvers<void>();
  const number = before ? 2 : 1;
  node.script('ours', (attempt) => (before && attempt === 1 ? before : { until: ending.promise }));
  const matches = isWrite('ours', `status Pending/Starting ${number}`);
  // The next attempt is to be the other one's.
  proxy.inject({ matches, fault: { do: 'drop-request' }, times: Number.POSITIVE_INFINITY });
  if (!before) proxy.freeze('jobs');
  const lagging = await world.operator({ forced: true });
  await lastHeard(world, 'ours', reason, async () => {
    await world.submit('ours');
    if (provoke) await world.running('ours').then(() => provoke(world));
  });
  proxy.freeze('jobs');
  await world.operator({ forced: true, proxy: await world.anotherProxy() });
  await goOn?.(world);
  await world.until('ours', 'runs by the other one', isRunning(number));
  await looksAgain(world, lagging);
  const [pod, ...others] = (await lab.pods()).filter(isAlive);
  assert.ok(pod && !pod.metadata.deletionTimestamp, 'the pod goes on');
  assert.equal(others.length, 0);
  ending.resolve();
  await world.ended('ours');
  proxy.thaw();
  const history = await world.sound({ ours: 'Succeeded' });
  assert.deepEqual(
    node.ledger.map(({ attempt }) => attempt),
    before ? [1, 2] : [1],
  );
  const killed = history.deletions.filter(({ name }) => name === pod.metadata.name);
  assert.deepEqual(killed, [], 'nobody asked for its end');
}
