import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { describe } from 'mocha';
import { z } from 'zod';
import { API_VERSION } from '../../src/api/keys.ts';
import { analysisTask } from '../../src/api/objects.ts';
import { jobVerdict } from '../../src/jobs/views.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { createCrowd, submitSettled } from './rig/crowd.ts';
import { groupBy } from './rig/oracles.ts';
import { row } from './rig/row.ts';
import type { Rule, Seen } from './rig/rules.ts';
import { kindOfWrite, REFERENCE, runReference } from './rig/workload.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

type Crash = (kill: () => void) => readonly Rule[];

const is = (kind: string) => (request: Seen) => kindOfWrite(request) === kind;
const CREATE = is('create jobs');
const CLAIM = is('status Pending/Starting 1');

/** Submits a task and resolves when the operator has died of it. */
async function dieOf(world: World, task: string, crash: Crash): Promise<void> {
  const victim = await world.operator();
  let isDead = false;
  const kill = (): void => void victim.stop('SIGKILL').then(() => (isDead = true));
  const rules = crash(kill).map((rule) => world.proxy.inject(rule));
  await world.submit(task);
  await eventually('the operator is killed', () => (isDead ? true : undefined), RECOVERY_MS);
  for (const rule of rules) rule.remove();
}

describe('A2 the operator dies between the creation of the Job and the write that records its UID', () => {
  const answered: Crash = (kill) => [{ matches: CREATE, fault: { do: 'pass' }, after: kill }];
  const unanswered: Crash = (kill) => [{ matches: CREATE, fault: { do: 'drop-response' }, onHit: kill }];

  /** The pod runs until the next operator has taken it over, or ends while there is none. */
  const adopts = (crash: Crash, ends: 'adopted' | 'alone') => async (world: World) => {
    const ending = Promise.withResolvers<void>();
    world.node.script('orphaned', () => ({ until: ending.promise }));
    // It must not see its own Job before it dies, or it might record it.
    world.proxy.freeze('jobs', 'pods');
    await dieOf(world, 'orphaned', crash);
    world.proxy.thaw();
    const [job] = await world.lab.jobs('orphaned');
    assert.ok(job, 'the Job was created');
    const left = (await world.lab.get('orphaned')).status?.attempt;
    assert.equal(left?.jobUID, undefined, 'nothing recorded it');
    if (ends === 'alone') {
      ending.resolve();
      await completed(world);
    }
    await world.operator();
    if (ends === 'adopted') await world.running('orphaned').then(() => ending.resolve());
    const history = await world.sound({ orphaned: 'Succeeded' });
    const { attempt, failures } = (await world.lab.get('orphaned')).status ?? {};
    assert.deepEqual([attempt?.number, attempt?.jobUID], [1, job.metadata.uid], 'the very Job was adopted');
    assert.equal(failures, undefined);
    assert.deepEqual([history.jobs.length, history.pods.length, world.node.ledger.length], [1, 1, 1]);
  };
  const completed = ({ lab }: World) =>
    eventually(
      'the Job completes while nobody leads',
      async () =>
        (await lab.jobs('orphaned')).some((job) => jobVerdict(job) === 'complete') ? true : undefined,
      RECOVERY_MS,
    );

  const title = 'the next one adopts it: one Job, one pod, one run';
  row('A2/answered', title, () => inWorld('adopt', adopts(answered, 'adopted')), { smoke: true });
  row('A2/unanswered', title, () => inWorld('adopt', adopts(unanswered, 'adopted')));
  row('A2/finished', `${title}, even when it finished meanwhile`, () =>
    inWorld('adopt', adopts(answered, 'alone')),
  );
});

describe('A3 the operator dies between the claim and the creation of the Job', () => {
  const cases: Readonly<Record<string, Crash>> = {
    unanswered: (kill) => [{ matches: CLAIM, fault: { do: 'drop-response' }, onHit: kill }],
    answered: (kill) => [
      { matches: CLAIM, fault: { do: 'pass' }, after: kill },
      { matches: CREATE, fault: { do: 'hang' } },
    ],
    unsent: (kill) => [{ matches: CREATE, fault: { do: 'drop-request' }, onHit: kill }],
  };

  const startsOnce = (crash: Crash) => async (world: World) => {
    await dieOf(world, 'claimed', crash);
    assert.equal((await world.lab.jobs()).length, 0, 'nothing was created');
    const left = (await world.lab.get('claimed')).status?.attempt;
    assert.equal(left?.number, 1, 'the claim stands');
    await world.operator();
    const history = await world.sound({ claimed: 'Succeeded' });
    const { attempt, failures } = (await world.lab.get('claimed')).status ?? {};
    assert.deepEqual([attempt?.number, attempt?.jobName], [1, left.jobName], 'the same attempt goes on');
    assert.notEqual(attempt?.claimedBy, left.claimedBy, 'it was claimed again');
    assert.equal(failures, undefined);
    assert.deepEqual([history.jobs.length, history.pods.length, world.node.ledger.length], [1, 1, 1]);
  };

  for (const [name, crash] of Object.entries(cases)) {
    const title = 'the next one claims the same attempt again and creates the Job once';
    row(`A3/${name}`, title, () => inWorld('claimed', startsOnce(crash)), { smoke: name === 'answered' });
  }
});

/** The life of a process in a crash loop, from when its caches are complete. */
const LIFE_MS = 1500;
/** A task arrives in each of the first lives, so that the loop goes on while the first ones end. */
const ARRIVALS = 6;
const MAX_LIVES = 30;
/** Each life may claim once more what the one before claimed; the rest is said again only when its words change. */
const CLAIM_ONLY = 'claimed';
const MAX_REPEATS = 3;

const arrival = (life: number): string => `arrived-${life}`;

/** Starts operators and kills each after a moment until no task is left to do; returns how many lives that took. */
async function crashLoop(world: World, tasks: readonly string[]): Promise<number> {
  const isOver = async (task: string) => (await world.lab.get(task)).status?.settled === true;
  const areOver = async () => (await Promise.all(tasks.map(isOver))).every(Boolean);
  for (let lives = 1; lives <= MAX_LIVES; lives++) {
    // Without the lease: how long a life may wait for it is not what is tested here.
    const operator = await world.operator({ forced: true });
    if (lives <= ARRIVALS) await world.submit(arrival(lives));
    await pause(LIFE_MS);
    await operator.stop('SIGKILL');
    if (lives >= ARRIVALS && (await areOver())) return lives;
  }
  throw new Error(`the tasks are not done after ${MAX_LIVES} lives of an operator`);
}

async function crashLoopEnds(world: World): Promise<void> {
  const arrivals = Array.from({ length: ARRIVALS }, (_, index) => arrival(index + 1));
  for (const task of arrivals)
    world.node.script(task, (attempt) => ({ runMs: 3000, model: attempt === 1 ? 'fails' : 'succeeds' }));
  const expected = {
    ...REFERENCE,
    ...Object.fromEntries(arrivals.map((task) => [task, 'Succeeded' as const])),
  };
  const workload = runReference(world);
  const lives = await crashLoop(world, Object.keys(expected));
  await workload;
  const { taskWrites } = await world.sound(expected);
  const same = groupBy(taskWrites, ({ name, status: { phase, reason, attempt } }) =>
    [name, phase, reason, attempt?.number, attempt?.jobUID ?? CLAIM_ONLY].join(' '),
  );
  const amplified = [...same]
    .map(([what, writes]) => ({ what, times: writes.length }))
    .filter(({ what, times }) => times > (what.endsWith(CLAIM_ONLY) ? lives : MAX_REPEATS));
  assert.deepEqual(amplified, []);
}

describe('A7 the operator is killed every two seconds', () => {
  const title = 'each life brings the workload forward until it ends';
  row('A7', title, () => inWorld('loop', crashLoopEnds));
});

const SETTLED = 9500;
const WAITING = 500;
/** An operator with nothing to do takes 200 MiB and this one 300; one that holds all tasks at once, for a moment or for ever, takes more. */
const MEMORY_BOUND_MIB = 384;

async function startsInACrowd(world: World): Promise<void> {
  await createCrowd(world, { settled: SETTLED, waiting: WAITING });
  // The last of all in the order of the lists: when it is gone, every settled task was looked at.
  await submitSettled(world, 'zz-expired', { ttlSecondsAfterSettled: 0 });
  const operator = await world.operator({ forced: true });
  await world.submit('new');
  await eventually('every waiting task says so', () => areWaiting(world), RECOVERY_MS);
  const history = await world.sound({ new: 'Succeeded', 'zz-expired': 'gone' });
  const told = history.taskWrites.filter(({ status }) => status.reason === 'ModelNotFound');
  assert.equal(told.length, WAITING, 'each waiting task was told once');
  const peak = (await operator.peakMemory()) / 1024 ** 2;
  assert.ok(peak < MEMORY_BOUND_MIB, `the operator held up to ${Math.round(peak)} MiB`);
}

const taskList = z.object({ items: z.array(z.unknown()) });

async function areWaiting({ lab }: World): Promise<true | undefined> {
  const path = `/apis/${API_VERSION}/namespaces/${lab.namespace}/analysistasks?fieldSelector=status.settled!=true`;
  const { items } = taskList.parse(expectOk(await controlPlane().api.call('GET', path)));
  const waiting = items
    .map((item) => analysisTask.parse(item))
    .filter(({ status }) => status?.reason === 'ModelNotFound');
  return waiting.length === WAITING ? true : undefined;
}

describe('A8 ten thousand tasks are there when the operator starts', () => {
  const title = 'it starts within bounded memory and works on a new one';
  row('A8', title, () => inWorld('crowd', startsInACrowd));
});
