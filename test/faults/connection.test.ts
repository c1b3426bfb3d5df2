import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { describe } from 'mocha';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import type { Operator } from '../support/operator.ts';
import type { PodView } from '../../src/jobs/views.ts';
import { counted, memoryOf, metricOf } from './rig/measure.ts';
import { row } from './rig/row.ts';
import { startSecondServer } from './rig/second-server.ts';
import { killApiServer, startApiServer } from './rig/servers.ts';
import { kindOfWrite } from './rig/workload.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** Quiet watches are given up as soon as the configuration allows; the periodic list stays far away. */
const IMPATIENT = { watchIdleSeconds: 10 };
const WATCHES_ENDED = 'informer_watches_ended_total';

const hangsIn = ({ node }: World, ...tasks: readonly string[]): void =>
  tasks.forEach((task) => node.script(task, () => ({ model: 'hangs' })));

async function runningTasks(world: World, ...tasks: readonly string[]): Promise<void> {
  for (const task of tasks) await world.submit(task);
  await Promise.all(tasks.map((task) => world.running(task)));
}

describe('C6 a connection is dead and nobody says so', () => {
  row('C6/watches', 'no watch brings anything any more, and none ends: the idle limit finds out', () =>
    inWorld('silent', async (world) => {
      const operator = await world.operator({ forced: true, config: IMPATIENT });
      hangsIn(world, 'cancelled');
      await runningTasks(world, 'cancelled');
      // Watches that are open now stay silent for ever; everything else works.
      world.proxy.halfOpen(true);
      world.proxy.halfOpen(false);
      await world.desire('cancelled', 'Cancel');
      await world.submit('fresh');
      await world.sound({ cancelled: 'Cancelled', fresh: 'Succeeded' });
      assert.ok((await metricOf(operator, WATCHES_ENDED, 'why="error"')) >= 3);
    }),
  );

  row('C6/calls', 'the network dies with a write on its way and comes back without it: every call ends', () =>
    inWorld('swallowed', async (world) => {
      const operator = await world.operator({ forced: true, config: IMPATIENT });
      hangsIn(world, 'cancelled');
      await runningTasks(world, 'cancelled');
      const swallowed = world.proxy.inject({
        matches: (request) => kindOfWrite(request) === 'create jobs',
        fault: { do: 'hang' },
        onHit: () => world.proxy.halfOpen(true),
      });
      await world.submit('fresh');
      await eventually('the network is dead', () => (swallowed.hits() > 0 ? true : undefined));
      await world.desire('cancelled', 'Cancel');
      await counted(operator, 3, WATCHES_ENDED, 'why="error"');
      world.proxy.halfOpen(false);
      await world.sound({ cancelled: 'Cancelled', fresh: 'Succeeded' });
    }),
  );

  const closings: Readonly<Record<string, readonly [string, (world: World) => () => void]>> = {
    idle: [
      'idle connections are closed under its hands',
      ({ proxy }) => {
        const timer = setInterval(() => proxy.closeIdle(), 5);
        return () => clearInterval(timer);
      },
    ],
    'going-away': [
      'every answer says that it is the last on its connection, and watches are cut',
      ({ proxy }) => {
        proxy.lastAnswers(true);
        const timer = setInterval(() => proxy.cutWatches(), 1000);
        return () => clearInterval(timer);
      },
    ],
  };
  for (const [id, [title, begin]] of Object.entries(closings))
    row(`C6/${id}`, `${title}: nothing is lost and nothing runs twice`, () =>
      inWorld('closing', async (world) => {
        await world.operator({ forced: true });
        const before = world.proxy.connections();
        const end = begin(world);
        const tasks = ['a', 'b', 'c', 'd'];
        for (const task of tasks) await world.submit(task);
        await Promise.all(tasks.map((task) => world.ended(task))).finally(end);
        await world.sound(Object.fromEntries(tasks.map((task) => [task, 'Succeeded'])));
        assert.ok(world.proxy.connections() - before > MANY, 'connections were closed all the time');
      }),
    );
});

/** Undisturbed, some ten connections are enough for everything. */
const MANY = 20;

describe('C7 the other end changes', () => {
  row('C7/restart', 'the API server is killed and comes back while tasks run', () =>
    inWorld('restarted', async (world) => {
      await world.operator({ forced: true });
      hangsIn(world, 'cancelled');
      world.node.script('running', () => ({ runMs: 3000 }));
      await runningTasks(world, 'cancelled', 'running');
      await killApiServer();
      await startApiServer();
      await world.desire('cancelled', 'Cancel');
      await world.submit('fresh');
      await world.sound({ cancelled: 'Cancelled', running: 'Succeeded', fresh: 'Succeeded' });
    }),
  );

  row('C7/second-server', 'it is moved to another API server while tasks run', async () => {
    const second = await startSecondServer();
    try {
      await inWorld('moved', async (world) => {
        await world.operator({ forced: true });
        hangsIn(world, 'cancelled');
        world.node.script('running', () => ({ runMs: 2000 }));
        await runningTasks(world, 'cancelled', 'running');
        world.proxy.moveTo(second.upstream);
        await world.desire('cancelled', 'Cancel');
        await world.submit('fresh');
        await world.sound({ cancelled: 'Cancelled', running: 'Succeeded', fresh: 'Succeeded' });
      });
    } finally {
      await second.stop();
    }
  });

  row(
    'C7/token',
    'its token is refused before the new one is in the file: it takes the new one, and is refused no more',
    () =>
      inWorld('token', async (world) => {
        const { proxy } = world;
        proxy.accept('first');
        await world.operator({ forced: true });
        await world.submit('before');
        await world.ended('before');
        proxy.accept('second');
        proxy.cutWatches();
        const refused = (): number => proxy.log.filter(({ status }) => status === 401).length;
        await world.submit('between');
        await eventually('it is refused', () => (refused() > 4 ? true : undefined));
        await writeFile(proxy.files.token, 'second');
        await eventually('it works again', () => claimed(world, 'between'), REREAD_MS);
        await world.ended('between');
        const before = refused();
        await world.submit('after');
        await world.sound({ before: 'Succeeded', between: 'Succeeded', after: 'Succeeded' });
        assert.equal(refused(), before, 'the old token was sent again');
      }),
    { smoke: true },
  );

  row('C7/authority', 'a new certificate authority counts as soon as it is in the file', () =>
    inWorld('authority', async (world) => {
      const operator = await world.operator({ forced: true });
      const pem = await world.proxy.renewCertificate();
      const refused = (): true | undefined =>
        operator.log().some((line) => line.includes('DEPTH_ZERO_SELF_SIGNED_CERT')) ? true : undefined;
      await eventually('it does not trust the new certificate', refused);
      await writeFile(world.proxy.files.ca, pem);
      await world.submit('task');
      await eventually('it works again', () => claimed(world, 'task'), REREAD_MS);
      await world.sound({ task: 'Succeeded' });
    }),
  );
});

/** Files are looked at once a minute anyway; waiting for that would be the failure. */
const REREAD_MS = 30_000;

async function claimed({ lab }: World, task: string): Promise<true | undefined> {
  return (await lab.get(task)).status?.attempt ? true : undefined;
}

const STORM = { tasks: 6, changesPerTask: 100, senders: 12 };

describe('C8 a storm of events', () => {
  row('C8', 'tens of thousands of events: one entry per key, bounded memory, and a new task is served', () =>
    inWorld('storm', async (world) => {
      const operator = await world.operator({ forced: true });
      const tasks = Array.from({ length: STORM.tasks }, (_, index) => `busy-${index}`);
      hangsIn(world, ...tasks);
      await runningTasks(world, ...tasks);
      const flood = world.proxy.tamper({
        matches: ({ type }) => type === 'MODIFIED',
        fault: 'flood',
        times: Number.POSITIVE_INFINITY,
      });
      const before = await memoryOf(operator);
      const writes = (): number =>
        world.proxy.log.map(kindOfWrite).filter((kind) => kind !== undefined).length;
      const earlier = writes();
      const all = STORM.tasks * STORM.changesPerTask;
      const arrived = (): true | undefined => (flood.hits() >= all ? true : undefined);
      const deepest = await deepestQueue(operator, async () => {
        await storm(world);
        await eventually(`${all} changes have passed`, arrived, RECOVERY_MS);
      });
      flood.remove();
      assert.ok(deepest <= STORM.tasks + 1, `${deepest} keys waited for ${STORM.tasks + 1} tasks`);
      assert.ok(writes() - earlier <= WRITES_OF_ONE_TASK, 'only the new task was worth a write');
      const grown = (await memoryOf(operator)).peak - before.now;
      assert.ok(grown < STORM_LIMIT, `the operator grew by ${Math.round(grown / 2 ** 20)} MiB`);
      await Promise.all(tasks.map((task) => world.desire(task, 'Cancel')));
      const cancelled = Object.fromEntries(tasks.map((task) => [task, 'Cancelled'] as const));
      await world.sound({ ...cancelled, fresh: 'Succeeded' });
    }),
  );
});

const WRITES_OF_ONE_TASK = 8;
const STORM_LIMIT = 200 * 2 ** 20;

/** Changes the status of every running pod again and again, and in the midst of it a task arrives. */
async function storm(world: World): Promise<void> {
  const pods = await world.lab.pods();
  const changes = pods.flatMap((pod) =>
    Array.from({ length: STORM.changesPerTask }, (_, number) => ({ pod, number })),
  );
  changes.sort((a, b) => a.number - b.number);
  const send = async (): Promise<void> => {
    for (let next = changes.shift(); next; next = changes.shift()) await change(world, next.pod, next.number);
  };
  const sending = Promise.all(Array.from({ length: STORM.senders }, send));
  await world.submit('fresh');
  await world.ended('fresh');
  assert.ok(changes.length > 0, 'the new task ended while the storm went on');
  await sending;
}

async function change({ lab }: World, pod: PodView, number: number): Promise<void> {
  const path = `${lab.path('pods')}/${pod.metadata.name}/status`;
  const condition = { type: 'Storm', status: number % 2 ? 'True' : 'False', message: String(number) };
  const patch = { body: { status: { conditions: [condition] } } };
  const contentType = 'application/strategic-merge-patch+json';
  expectOk(await controlPlane().api.call('PATCH', path, { ...patch, contentType }));
}

/** The most keys that waited for a worker at any look during `act`. */
async function deepestQueue(operator: Operator, act: () => Promise<void>): Promise<number> {
  let deepest = 0;
  const over = new AbortController();
  const look = async (): Promise<void> => {
    while (!over.signal.aborted) {
      deepest = Math.max(deepest, await metricOf(operator, 'workqueue_depth', 'name="analysistask"'));
      await pause(LOOK_MS);
    }
  };
  const looking = look();
  await act().finally(() => over.abort());
  await looking;
  return deepest;
}

const LOOK_MS = 20;
