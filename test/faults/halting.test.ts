import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { waitsFor } from '../support/kubelet.ts';
import { type Hands, handsIn } from './rig/hands.ts';
import { row } from './rig/row.ts';
import type { Seen } from './rig/rules.ts';
import { claimed, running, starting } from './rig/states.ts';
import { publications } from './rig/volume.ts';
import { COPY, inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** Brings a task of that name into a state from which it is to be cancelled. */
const STATES: Readonly<Record<string, (world: World, hands: Hands) => Promise<unknown>>> = {
  async unclaimed(world) {
    await world.submit('unclaimed', { model: 'no-such-model' });
    await world.until('unclaimed', 'waits', ({ reason }) => reason === 'ModelNotFound');
  },
  claimed: (world) => claimed(world, 2000),
  starting,
  running: (world) => running(world, 1500),
  async pausing(world) {
    world.node.script('pausing', () => ({ model: 'fails' }));
    await world.submit('pausing');
    await world.until('pausing', 'Retrying', ({ reason }) => reason === 'Retrying');
  },
  async suspending(world) {
    world.node.script('suspending', () => ({ model: 'hangs', stopMs: 1500 }));
    await world.submit('suspending');
    await world.running('suspending');
    await world.desire('suspending', 'Suspend');
  },
  async suspended(world) {
    world.node.script('suspended', () => ({ model: 'hangs' }));
    await world.submit('suspended');
    await world.running('suspended');
    await world.desire('suspended', 'Suspend');
    await world.until('suspended', 'Suspended', ({ reason }) => reason === 'Suspended');
  },
};

async function cancelledInEveryState(world: World): Promise<void> {
  const hands = handsIn(world);
  await world.operator();
  await Promise.all(
    Object.entries(STATES).map(async ([task, reach]) => {
      await reach(world, hands);
      await world.desire(task, 'Cancel');
    }),
  );
  const tasks = Object.keys(STATES);
  const { jobs } = await world.sound(Object.fromEntries(tasks.map((task) => [task, 'Cancelled' as const])));
  assert.equal(jobs.length, tasks.length - 1, 'one Job each, and none for the one that was never claimed');
  await world.submit('after');
  await world.sound({ after: 'Succeeded' });
}

/** Publish has renamed, nobody knows yet, and the operator deletes the Job: only then its end can be seen. */
async function publishedMeanwhile(world: World, desired: 'Cancel' | 'Suspend'): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({
    async onPublished() {
      await world.desire('t', desired);
      const { metadata } = await hands.job('t');
      const deleting = async () =>
        (await world.lab.jobs('t')).some((job) => job.metadata.name === metadata.name && isDeleted(job))
          ? true
          : undefined;
      await eventually('the Job is being deleted', deleting, RECOVERY_MS);
    },
  }));
  await world.operator();
  await world.submit('t');
  const { jobs } = await world.sound({ t: 'Succeeded' });
  assert.equal(jobs.length, 1);
  const { status } = await world.lab.get('t');
  assert.equal(status?.result?.path, 'corpus/outputs/t');
  assert.equal(status?.progress?.summary, '2/2', 'what the pod reported is missing');
}

const isDeleted = ({ metadata }: { metadata: { deletionTimestamp?: string } }): boolean =>
  metadata.deletionTimestamp !== undefined;

describe('P1 a task is cancelled', () => {
  const patient = { failure: { ...COPY.failure, backoffSeconds: 600 } };
  row('P1/every-state', 'in every state, also before its Job exists: Cancelled once no pod is left', () =>
    inWorld('cancel', cancelledInEveryState, patient),
  );
  for (const desired of ['Cancel', 'Suspend'] as const)
    row(`P1/published-${desired.toLowerCase()}`, 'while it publishes: a publish that won wins', () =>
      inWorld('cancel', (world) => publishedMeanwhile(world, desired)),
    );
});

/** No disruption is free here: an attempt that counts as one fails the task. */
const STRICT = { maxDisruptions: 0 };

async function suspendedAndResumed(world: World): Promise<void> {
  world.node.script('t', (attempt) => (attempt === 1 ? { model: 'hangs', stopMs: 1500 } : {}));
  await world.operator({ config: STRICT });
  await world.submit('t');
  await world.running('t');
  for (const desired of ['Suspend', 'Run', 'Suspend'] as const) await world.desire('t', desired);
  await world.until('t', 'Suspended', ({ reason }) => reason === 'Suspended');
  await world.desire('t', 'Run');
  await goneOnFree(world);
}

async function resumedAtOnce(world: World): Promise<void> {
  world.node.script('t', (attempt) => (attempt === 1 ? { model: 'hangs', stopMs: 2000 } : {}));
  await world.operator({ config: STRICT });
  await world.submit('t');
  await world.running('t');
  await world.desire('t', 'Suspend');
  await world.until('t', 'Suspending', ({ reason }) => reason === 'Suspending');
  await world.desire('t', 'Run');
  await goneOnFree(world);
}

/** It succeeds with its second attempt, and the first one does not count in any way. */
async function goneOnFree(world: World): Promise<void> {
  const { jobs } = await world.sound({ t: 'Succeeded' });
  assert.deepEqual(
    jobs.map(({ attempt }) => attempt),
    [1, 2],
  );
  const { status = {} } = await world.lab.get('t');
  assert.equal(status.failedAttempts ?? 0, 0);
  assert.equal(status.disruptions ?? 0, 0);
  assert.deepEqual(status.failures ?? [], []);
}

describe('P2 a task is suspended and resumed', () => {
  row('P2/fast', 'suspended, resumed, suspended at once: at rest, and free when it is resumed', () =>
    inWorld('pause', suspendedAndResumed),
  );
  row(
    'P2/at-once',
    'resumed while its pod still stops: the next attempt is free and waits for the pod',
    () => inWorld('pause', resumedAtOnce),
    { smoke: true },
  );
});

async function expired(world: World): Promise<void> {
  const hands = handsIn(world);
  const raised = Promise.withResolvers<void>();
  const raise = (): void =>
    void hands
      .patch('analysistasks', 'raised', { spec: { ttlSecondsAfterSettled: 9999 } })
      .then(raised.resolve, raised.reject);
  const matches = ({ method, path }: Seen): boolean => method === 'DELETE' && path.includes('/raised');
  world.proxy.inject({ matches, fault: { do: 'delay', ms: 1500 }, onHit: raise });
  await world.operator({ config: { expirySeconds: 1 } });
  await world.submit('kept');
  await world.submit('short', { ttlSecondsAfterSettled: 0 });
  await world.submit('raised', { ttlSecondsAfterSettled: 0 });
  await raised.promise;
  await hands.gone('analysistasks', 'short');
  // Another sweep begins and ends after the ttl was raised.
  await world.submit('last', { ttlSecondsAfterSettled: 0 });
  await hands.gone('analysistasks', 'last');
  const { deletions } = await world.sound({
    short: 'gone',
    last: 'gone',
    kept: 'Succeeded',
    raised: 'Succeeded',
  });
  const published = [...(await publications(world.node.store)).keys()];
  assert.deepEqual(published.toSorted(), ['kept', 'last', 'raised', 'short'], 'outputs went with their task');
  const refused = deletions.filter(({ name, code }) => name === 'raised' && code === 409);
  assert.equal(refused.length, 1, 'the ttl was raised after the deletion was decided');
}

describe('P3 tasks whose time is over', () => {
  row('P3', 'are deleted, unless the ttl was raised a moment ago; published outputs stay', () =>
    inWorld('expiry', expired),
  );
});

const impatient = { failure: { ...COPY.failure, pendingDeadlineSeconds: 10 } };

interface Stuck {
  /** What kubelet says of the pod. */
  readonly status: object;
  readonly waits: string;
  readonly ends: string;
}

async function neverStarts(world: World, { status, waits, ends }: Stuck): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ model: 'waits' }));
  await world.operator();
  await world.submit('t');
  const bound = async () => ((await hands.pod('t')).containers.length > 0 ? true : undefined);
  await eventually('the pod is on its node', bound, RECOVERY_MS);
  await world.lab.setPod(await hands.pod('t'), status);
  await world.until('t', `Pending/${waits}`, ({ reason, phase }) => reason === waits && phase === 'Pending');
  await world.sound({ t: 'Failed' });
  const end = (await world.lab.get('t')).status ?? {};
  assert.equal(end.reason, ends);
  assert.match(end.message ?? '', /waited 10 s, the pending deadline/);
  assert.equal(end.attempt?.number, 1, 'waiting helps as little the second time');
}

const SLOW: Stuck = {
  status: waitsFor('ContainerCreating', ''),
  waits: 'Starting',
  ends: 'PendingDeadlineExceeded',
};
const MISCONFIGURED: Stuck = {
  status: waitsFor('CreateContainerConfigError', 'secret "none" not found'),
  waits: 'ConfigError',
  ends: 'ConfigError',
};

describe('P4 the pod never starts its model', () => {
  row('P4/deadline', 'and says nothing: stopped at the pending deadline', () =>
    inWorld('pending', (world) => neverStarts(world, SLOW), impatient),
  );
  row(
    'P4/config',
    'because of CreateContainerConfigError: told at once, stopped at the pending deadline',
    () => inWorld('pending', (world) => neverStarts(world, MISCONFIGURED), impatient),
  );
});
