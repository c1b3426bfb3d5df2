import assert from 'node:assert/strict';
import { describe } from 'mocha';
import type { TaskStatus } from '../../src/api/task.ts';
import { eventually } from '../support/eventually.ts';
import { handsIn } from './rig/hands.ts';
import { type Behaviour, firstMeets } from './rig/containers.ts';
import { row } from './rig/row.ts';
import { isCreation } from './rig/states.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** Numbers of the attempts for which Jobs were created, in order. */
async function attemptsOf(world: World): Promise<number[]> {
  return (await world.history()).jobs.map(({ attempt }) => attempt);
}

/** The one task `t` has succeeded with its second attempt, and the first one does not count against its model. */
async function repeatedForFree(world: World, allowed?: (violation: string) => boolean): Promise<TaskStatus> {
  await world.sound({ t: 'Succeeded' }, allowed);
  const { status = {} } = await world.lab.get('t');
  assert.deepEqual(await attemptsOf(world), [1, 2]);
  assert.equal(status.failedAttempts ?? 0, 0, 'a failure was counted against the model');
  assert.equal(status.disruptions, 1);
  assert.equal(status.failures?.[0]?.category, 'Lost', JSON.stringify(status.failures));
  return status;
}

const modelRunsOf = ({ node }: World): number => node.ledger.length;

async function jobDeletedBeforeStart(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', firstMeets({ model: 'waits' }));
  await world.operator();
  await world.submit('t');
  await hands.pod('t');
  await hands.remove('jobs', (await hands.job('t')).metadata.name);
  await repeatedForFree(world);
  assert.equal(modelRunsOf(world), 1, 'the deleted attempt never ran its model');
}

async function jobDeletedWhileRunning(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', firstMeets({ model: 'hangs', stopMs: 1500 }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  await hands.remove('jobs', (await hands.job('t')).metadata.name);
  await repeatedForFree(world);
}

/** The operator's watches stand still from the start of the model until Job and pod are gone again. */
async function jobDeletedAfterSuccess(world: World): Promise<void> {
  const hands = handsIn(world);
  const blind = (): void => world.proxy.freeze('jobs', 'pods');
  world.node.script('t', firstMeets({ onModel: blind, runMs: 500 }));
  await world.operator();
  await world.submit('t');
  const { metadata } = await hands.job('t');
  const complete = async () => (await world.lab.jobs('t')).some(({ conditions }) => isComplete(conditions));
  await eventually('the Job is complete', async () => ((await complete()) ? true : undefined), RECOVERY_MS);
  await hands.remove('jobs', metadata.name);
  await hands.gone('jobs', metadata.name);
  await eventually('no pod is left', async () => ((await world.lab.pods()).length === 0 ? true : undefined));
  assert.notEqual((await world.lab.get('t')).status?.phase, 'Succeeded', 'the operator saw it after all');
  world.proxy.thaw();
  const { message } = await repeatedForFree(world);
  assert.equal(modelRunsOf(world), 1, 'the model ran again although its outputs were published');
  assert.match(message ?? '', /publish/i);
}

const isComplete = (conditions: readonly { type: string; status: string }[]): boolean =>
  conditions.some(({ type, status }) => type === 'Complete' && status === 'True');

/** Before its UID was recorded a Job leaves no trace: then the same attempt is created again, as the docs say. */
async function jobDeletedUnrecorded(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ model: 'succeeds', runMs: 3000, stopMs: 1500 }));
  await world.operator();
  world.proxy.freeze('jobs', 'pods');
  const deleted = Promise.withResolvers<void>();
  const remove = async (): Promise<void> => {
    const [job] = await world.lab.jobs('t');
    await hands.remove('jobs', job?.metadata.name ?? '');
  };
  const after = (): void => void remove().then(deleted.resolve, deleted.reject);
  world.proxy.inject({ matches: isCreation, fault: { do: 'pass' }, after });
  await world.submit('t');
  await deleted.promise;
  const again = async () => ((await attemptsOf(world)).length > 1 ? true : undefined);
  await eventually('a second Job', again, RECOVERY_MS);
  world.proxy.thaw();
  await world.sound({ t: 'Succeeded' }, (violation) => violation.startsWith('O2 2 Jobs for one attempt'));
  assert.deepEqual((await attemptsOf(world)).slice(0, 2), [1, 1]);
}

describe('F1 the Job is deleted by hand', () => {
  const smoke = { smoke: true };
  row(
    'F1/before-start',
    'before its pod started: lost, free, and the next attempt has a number of its own',
    () => inWorld('nojob', jobDeletedBeforeStart),
  );
  row(
    'F1/running',
    'while it runs: the next attempt starts when the pod is gone',
    () => inWorld('nojob', jobDeletedWhileRunning),
    smoke,
  );
  row(
    'F1/succeeded',
    'after a success that the operator has not seen: the next attempt finds what was published',
    () => inWorld('nojob', jobDeletedAfterSuccess),
  );
  row(
    'F1/unrecorded',
    'before its UID was recorded: the same attempt again, never two pods at once, one result',
    () => inWorld('nojob', jobDeletedUnrecorded),
  );
});

async function jobDeletedFromItsPod(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', firstMeets({ model: 'hangs', stopMs: 1500 }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  const pod = await hands.pod('t');
  await hands.remove('jobs', (await hands.job('t')).metadata.name, { policy: 'Orphan' });
  await repeatedForFree(world);
  assert.equal(await hands.exists('pods', pod.metadata.name), false, 'the orphan is still there');
  const { deletions } = await world.history();
  assert.deepEqual(
    deletions.filter(({ resource }) => resource === 'pods').map(({ uid }) => uid),
    [pod.metadata.uid],
    'the operator removed the orphan and nothing else',
  );
}

describe('F2 the Job is deleted with --cascade=orphan', () => {
  row('F2', 'its pod is removed before another attempt starts', () =>
    inWorld('orphan', jobDeletedFromItsPod),
  );
});

async function podDeleted(world: World, behaviour: Behaviour, force: boolean): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', firstMeets(behaviour));
  await world.operator();
  await world.submit('t');
  if (behaviour.model === 'hangs') await world.running('t');
  await hands.remove('pods', (await hands.pod('t')).metadata.name, { force });
  await repeatedForFree(world);
}

describe('F3 the pod is deleted by hand', () => {
  row('F3/before-start', 'before its model ran: lost and free', () =>
    inWorld('nopod', (world) => podDeleted(world, { model: 'waits' }, false)),
  );
  row('F3/running', 'while it runs: lost and free, and no second pod before it has stopped', () =>
    inWorld('nopod', (world) => podDeleted(world, { model: 'hangs', stopMs: 1500 }, false)),
  );
});

/** `t` is deleted by force while its model runs, under a finalizer that is then torn off, and submitted again at once. */
async function taskForcedAway(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => {
    const isFirst = modelRunsOf(world) === 0;
    return isFirst ? { model: 'hangs', stopMs: 1500 } : {};
  });
  await world.operator();
  await world.submit('t');
  await world.running('t');
  const job = await hands.job('t');
  await hands.patch('analysistasks', 't', { metadata: { finalizers: ['example.org/hold'] } });
  await hands.remove('analysistasks', 't', { force: true });
  await hands.patch('analysistasks', 't', { metadata: { finalizers: null } });
  await world.submit('t');
  const { jobs } = await world.sound({ t: 'Succeeded' });
  await hands.gone('jobs', job.metadata.name);
  assert.equal(jobs.length, 2, 'one Job for each task of that name');
  assert.equal(new Set(jobs.map(({ owner }) => owner)).size, 2, 'the new task took over an old Job');
}

/** Cancelled, while the finalizer that lets the Job wait for its pod is torn off. */
async function jobFinalizerTornOff(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ model: 'hangs', stopMs: 4000 }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  const { metadata } = await hands.job('t');
  await world.lab.patchTask('t', { spec: { desired: 'Cancel' } });
  const deleting = async () => ((await hands.job('t')).metadata.deletionTimestamp ? true : undefined);
  await eventually('the Job is being deleted', deleting, RECOVERY_MS);
  await hands.patch('jobs', metadata.name, { metadata: { finalizers: null } });
  await hands.gone('jobs', metadata.name);
  assert.equal((await world.ended('t')).phase, 'Cancelled');
  assert.notEqual(world.node.ledger[0]?.endedMs, undefined, 'Cancelled, but its container still runs');
  await world.sound({ t: 'Cancelled' });
}

/** The pod vanishes at once while its container goes on for a while; its Job may replace it by itself. */
async function podForcedAway(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => (modelRunsOf(world) === 0 ? { model: 'hangs', stopMs: 500 } : {}));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  const { name } = (await hands.pod('t')).metadata;
  await hands.patch('pods', name, { metadata: { finalizers: null } });
  await hands.remove('pods', name, { force: true });
  const { jobs } = await world.sound({ t: 'Succeeded' }, (violation) =>
    /^(O2 2 pods for one Job|I3 )/.test(violation),
  );
  assert.ok(jobs.length <= 2);
}

describe('F5 finalizers are torn off and objects deleted by force', () => {
  row('F5/task', 'the task: its pod stops, and a new task of that name owes it nothing', () =>
    inWorld('force', taskForcedAway),
  );
  row('F5/job', 'the Job: Cancelled is said only when its pod is gone', () =>
    inWorld('force', jobFinalizerTornOff),
  );
  row('F5/pod', 'the pod: one result all the same', () => inWorld('force', podForcedAway));
});
