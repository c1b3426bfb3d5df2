import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { handsIn } from './rig/hands.ts';
import { row } from './rig/row.ts';
import type { Seen } from './rig/rules.ts';
import { COPY, inWorld, type World } from './rig/world.ts';

const someJob = z.looseObject({ spec: z.looseObject({}) });

/** From now on every Job of `t` gets these fields on its way to the API server, as from a queue's webhook. */
function admitWith(world: World, fields: object): void {
  const matches = ({ method, path, body }: Seen): boolean =>
    method === 'POST' && path.endsWith('/jobs') && body.includes('"t-');
  const body = (text: string): string => {
    const job = someJob.parse(JSON.parse(text));
    return JSON.stringify({ ...job, spec: { ...job.spec, ...fields } });
  };
  world.proxy.inject({ matches, fault: { do: 'rewrite', body }, times: 99 });
}

const queued = (world: World) => world.until('t', 'Queued', ({ reason }) => reason === 'Queued');

/** What an operator wrote about `t` and its Jobs so far. */
async function writesOf(world: World): Promise<readonly string[]> {
  return (await world.history()).operatorWrites.filter((write) => / t(-|:)/.test(write));
}

/** Nothing is written however often the Job changes: `touches` are changes by its queue. */
async function leftInPeace(world: World, touches: number): Promise<void> {
  const hands = handsIn(world);
  const { metadata } = await hands.job('t');
  const before = await writesOf(world);
  for (let touch = 0; touch < touches; touch++)
    await hands.patch('jobs', metadata.name, { metadata: { labels: { 'example.org/queue': `${touch}` } } });
  // A task that comes later and ends: the operator has seen all of these changes.
  await world.submit('later');
  await world.ended('later');
  assert.deepEqual(await writesOf(world), before, 'the operator fights with the queue');
}

/** Longer than any start takes here. */
const DEADLINE_SECONDS = 10;

async function queuedFirst(world: World): Promise<void> {
  const hands = handsIn(world);
  admitWith(world, { suspend: true });
  await world.operator();
  await world.submit('t');
  const { phase, attempt } = await queued(world);
  assert.equal(phase, 'Pending');
  await leftInPeace(world, 5);
  const overdue = Date.parse(attempt?.claimedAt ?? '') + (DEADLINE_SECONDS + 1) * 1000;
  await eventually('more than the pending deadline has passed', () => Date.now() > overdue || undefined);
  await hands.patch('jobs', attempt?.jobName ?? '', { spec: { suspend: false } });
  // The proxy plays the queue's webhook by writing `suspend` into the operator's own request.
  const { jobs } = await world.sound({ t: 'Succeeded', later: 'Succeeded' }, (violation) =>
    violation.startsWith('I-suspend'),
  );
  assert.equal(jobs.length, 2, 'the time in the queue cost an attempt');
}

async function preempted(world: World): Promise<void> {
  const hands = handsIn(world);
  let hangs = true;
  world.node.script('t', () => (hangs ? { model: 'hangs', stopMs: 1000 } : {}));
  await world.operator();
  await world.submit('t');
  for (let round = 1; round < 3; round++) {
    await world.until('t', 'Running', ({ reason }) => reason === 'Running');
    const { metadata } = await hands.job('t');
    await hands.patch('jobs', metadata.name, { spec: { suspend: true } });
    await queued(world);
    await eventually('no pod is left', async () =>
      (await world.lab.pods()).length === 0 ? true : undefined,
    );
    hangs = round === 1;
    await hands.patch('jobs', metadata.name, { spec: { suspend: false } });
  }
  // The Job controller, not the operator, makes a new pod for the same Job.
  const { operatorWrites } = await world.sound({ t: 'Succeeded' }, (violation) =>
    violation.startsWith('O2 3 pods for one Job'),
  );
  const { status } = await world.lab.get('t');
  assert.equal(status?.attempt?.number, 1, 'a preemption by the queue cost an attempt');
  const aboutJobs = operatorWrites.filter((write) => /^\w+ (jobs|pods)/.test(write));
  assert.equal(aboutJobs.length, 1, `the operator wrote to its Job: ${aboutJobs.join(', ')}`);
}

async function managedByAnother(world: World): Promise<void> {
  admitWith(world, { managedBy: 'example.org/queue' });
  await world.operator();
  await world.submit('t');
  const { message } = await queued(world);
  assert.match(message ?? '', /example\.org\/queue/);
  await leftInPeace(world, 3);
  expectOk(await world.lab.patchTask('t', { spec: { desired: 'Cancel' } }));
  await world.sound({ t: 'Cancelled', later: 'Succeeded' });
}

describe('F10 somebody else starts and stops the Job', () => {
  const failure = { ...COPY.failure, pendingDeadlineSeconds: DEADLINE_SECONDS };
  row('F10/queued', 'created suspended: Queued without a deadline, and it goes on when it is let go', () =>
    inWorld('queue', queuedFirst, { failure }),
  );
  row('F10/preempted', 'suspended while it runs, twice: the operator writes nothing to it and follows', () =>
    inWorld('queue', preempted),
  );
  row('F10/managed', 'managedBy another controller: Queued, no fight, can be cancelled', () =>
    inWorld('queue', managedByAnother, { failure }),
  );
});
