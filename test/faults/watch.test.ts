import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { LABEL } from '../../src/api/keys.ts';
import type { Operator } from '../support/operator.ts';
import { counted, memoryOf, metricOf } from './rig/measure.ts';
import { row } from './rig/row.ts';
import {
  type Fault,
  type Injected,
  KINDS,
  type Kind,
  type LineFault,
  type Seen,
  watchesOf,
  type WatchLine,
} from './rig/rules.ts';
import { compactEtcd, killApiServer, startApiServer } from './rig/servers.ts';
import { REFERENCE, runReference } from './rig/workload.ts';
import { type Expected, inWorld, type World } from './rig/world.ts';

const ended = (operator: Operator, kind: Kind, why: 'gone' | 'garbage'): Promise<true> =>
  counted(operator, 1, 'informer_watches_ended_total', `resource="${kind}"`, `why="${why}"`);

/** What happens while nothing is told: one task ends by its user, one is deleted, one is new. */
const MISSED: Readonly<Record<string, Expected>> = {
  cancelled: 'Cancelled',
  deleted: 'gone',
  fresh: 'Succeeded',
};

/** Tells the operator nothing while the things of `MISSED` happen, then lets every watch begin anew. */
async function blindly(world: World, beforeSight: () => Promise<void> | void): Promise<void> {
  const { node, proxy } = world;
  for (const task of ['cancelled', 'deleted']) {
    node.script(task, () => ({ model: 'hangs' }));
    await world.submit(task);
  }
  await Promise.all(['cancelled', 'deleted'].map((task) => world.running(task)));
  proxy.freeze();
  await world.desire('cancelled', 'Cancel');
  await world.lab.deleteTask('deleted');
  await world.submit('fresh');
  await beforeSight();
  proxy.cutWatches(); // what was held back is lost with the connection
  proxy.thaw();
}

/** What an API server does that has forgotten: every watch of these kinds is too old until the operator has listed. */
function forget({ proxy }: World, fault: Fault): readonly Injected[] {
  const from = proxy.log.length;
  return KINDS.map((kind) => {
    const hasListed = (): boolean => proxy.log.slice(from).some(listsOf(kind));
    const matches = (request: Seen): boolean => watchesOf(kind)(request) && !hasListed();
    return proxy.inject({ matches, fault, times: Number.POSITIVE_INFINITY });
  });
}

/** Lists of a whole kind; a reconciler's live read names a task. */
const listsOf =
  (kind: Kind) =>
  ({ method, path, isWatch }: Seen): boolean =>
    method === 'GET' &&
    !isWatch &&
    path.includes(`/${kind}?`) &&
    !path.includes(encodeURIComponent(LABEL.taskUid));

describe('C1 a watch is too old', () => {
  const faults: Readonly<Record<string, readonly [string, Fault]>> = {
    connect: ['on connecting', { do: 'reply', status: 410, reason: 'Expired' }],
    stream: ['in its first line', { do: 'gone' }],
  };
  for (const [id, [where, fault]] of Object.entries(faults))
    row(`C1/${id}`, `every watch says 410 ${where}: a list finds what was missed, deletions too`, () =>
      inWorld('gone', async (world) => {
        await world.operator({ forced: true });
        const rules: Injected[] = [];
        await blindly(world, () => void rules.push(...forget(world, fault)));
        await world.sound(MISSED);
        assert.ok(rules.every((rule) => rule.hits() > 0));
      }),
    );

  const middle = (): Promise<void> =>
    inWorld('expired', async (world) => {
      const operator = await world.operator({ forced: true });
      const rules = KINDS.map((kind) => world.proxy.tamper({ matches: modified(kind), fault: 'expire' }));
      forget(world, { do: 'gone' });
      await world.submit('task');
      await world.sound({ task: 'Succeeded' });
      assert.ok(rules.every((rule) => rule.hits() === 1));
      await Promise.all(KINDS.map((kind) => ended(operator, kind, 'gone')));
    });
  row('C1/middle', 'an ERROR event in place of an event: that event is not missed', middle, { smoke: true });
});

function modified(resource: Kind): (line: WatchLine) => boolean {
  return (line) => line.resource === resource && line.type === 'MODIFIED';
}

describe('C2 compaction', () => {
  row(
    'C2',
    'the history between a broken watch and now is compacted away: it lists anew, and misses nothing',
    () =>
      inWorld('compacted', async (world) => {
        const operator = await world.operator({ forced: true });
        await blindly(world, async () => {
          await compactEtcd();
          // The API server's own memory of recent events would hide the compaction.
          await killApiServer();
          await startApiServer();
        });
        await world.sound(MISSED);
        for (const kind of KINDS) await ended(operator, kind, 'gone');
      }),
  );
});

interface Loss {
  readonly resource: Kind;
  readonly isLost: (line: WatchLine) => boolean;
  /** The same events are lost until a list has shown what they were about. */
  readonly always?: boolean;
  readonly act: (world: World) => Promise<void>;
  readonly ends: Expected;
}

const seenObject = z.looseObject({
  metadata: z.looseObject({ deletionTimestamp: z.string().optional() }),
  spec: z.looseObject({ desired: z.string().optional() }).optional(),
  status: z
    .looseObject({
      phase: z.string().optional(),
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).optional(),
    })
    .optional(),
});
const isOf =
  (...types: string[]) =>
  ({ type }: WatchLine): boolean =>
    types.includes(type);
const objectOf = ({ object }: WatchLine) => seenObject.parse(object);

const submitted = (world: World): Promise<void> => world.submit('task');
const runningThen =
  (act: (world: World) => Promise<void>) =>
  async (world: World): Promise<void> => {
    world.node.script('task', () => ({ model: 'hangs' }));
    await world.submit('task');
    await world.running('task');
    await act(world);
  };
const cancelled = runningThen((world) => world.desire('task', 'Cancel'));

/** Each kind of event of each kind of object, lost while the stream claims to have told everything. */
const LOSSES: Readonly<Record<string, Loss>> = {
  'task-ADDED': {
    resource: 'analysistasks',
    isLost: isOf('ADDED'),
    act: submitted,
    ends: 'Succeeded',
  },
  'task-MODIFIED': {
    resource: 'analysistasks',
    isLost: (line) => isOf('MODIFIED')(line) && objectOf(line).spec?.desired === 'Cancel',
    act: cancelled,
    ends: 'Cancelled',
  },
  'task-DELETED': {
    resource: 'analysistasks',
    isLost: isOf('DELETED'),
    act: runningThen((world) => world.lab.deleteTask('task')),
    ends: 'gone',
  },
  'job-ADDED': {
    resource: 'jobs',
    isLost: isOf('ADDED', 'MODIFIED'),
    always: true,
    act: submitted,
    ends: 'Succeeded',
  },
  'job-MODIFIED': {
    resource: 'jobs',
    isLost: (line) =>
      isOf('MODIFIED')(line) &&
      (objectOf(line).status?.conditions ?? []).some(
        ({ type, status }) => type === 'Complete' && status === 'True',
      ),
    act: submitted,
    ends: 'Succeeded',
  },
  'job-DELETED': { resource: 'jobs', isLost: isOf('DELETED'), act: cancelled, ends: 'Cancelled' },
  'pod-ADDED': {
    resource: 'pods',
    isLost: isOf('ADDED', 'MODIFIED'),
    always: true,
    act: submitted,
    ends: 'Succeeded',
  },
  'pod-MODIFIED': {
    resource: 'pods',
    isLost: (line) => isOf('MODIFIED')(line) && objectOf(line).status?.phase === 'Succeeded',
    always: true,
    act: submitted,
    ends: 'Succeeded',
  },
  'pod-DELETED': { resource: 'pods', isLost: isOf('DELETED'), act: cancelled, ends: 'Cancelled' },
};

describe('C3 an event never comes', () => {
  for (const [event, loss] of Object.entries(LOSSES))
    row(`C3/${event}`, 'the periodic list repairs it at the latest, and the task ends as it should', () =>
      inWorld('lost', (world) => lose(world, loss)),
    );
});

async function lose(world: World, { resource, isLost, always = false, act, ends }: Loss): Promise<void> {
  const operator = await world.operator({ forced: true, config: { resyncSeconds: 10 } });
  const rule = world.proxy.tamper({
    matches: (line) => line.resource === resource && line.name.startsWith('task') && isLost(line),
    fault: 'skip',
    times: always ? Number.POSITIVE_INFINITY : 1,
  });
  await act(world);
  await counted(operator, 1, 'informer_relist_misses_total', `resource="${resource}"`);
  rule.remove();
  assert.ok(rule.hits() > 0);
  await world.sound({ task: ends });
  if (ends !== 'Succeeded') return;
  const { result } = (await world.lab.get('task')).status ?? {};
  assert.ok(result?.manifestSha256, 'the result is complete, not only the verdict');
}

describe('C4 events come twice, late or in another order', () => {
  const all = (fault: LineFault) => (world: World) => {
    const rule = world.proxy.tamper({
      matches: ({ type }) => type !== 'BOOKMARK',
      fault,
      times: Number.POSITIVE_INFINITY,
    });
    return () => {
      rule.remove();
      assert.ok(rule.hits() > 50, `only ${rule.hits()} lines met the fault`);
    };
  };
  const reorder = ({ proxy }: World) => {
    let turn = 0;
    const next = (): void => {
      proxy.thaw();
      proxy.freeze(KINDS[turn++ % KINDS.length] ?? 'pods');
    };
    const timer = setInterval(next, REORDER_MS);
    return () => {
      clearInterval(timer);
      proxy.thaw();
      assert.ok(turn > KINDS.length);
    };
  };
  const cases: Readonly<Record<string, readonly [string, (world: World) => () => void]>> = {
    twice: ['every event comes twice', all('twice')],
    replay: ['every event comes again after its successor', all('replay')],
    reorder: ['one kind after the other is held back, so that causes come after effects', reorder],
  };
  for (const [id, [title, begin]] of Object.entries(cases))
    row(`C4/${id}`, `${title}: the whole workload ends right, and no status is written twice`, () =>
      inWorld('order', async (world) => {
        await world.operator({ forced: true });
        const end = begin(world);
        await runReference(world);
        await Promise.all(Object.keys(REFERENCE).map((task) => world.ended(task)));
        end();
        assertNoIdleWrite(await world.sound(REFERENCE));
      }),
    );
});

describe('C4 an event of the past', () => {
  row('C4/ghost', 'a Job is unfinished in an event that comes after its deletion: nobody waits for it', () =>
    inWorld('ghost', async (world) => {
      await world.operator({ forced: true });
      const isEnding = (line: WatchLine): boolean => objectOf(line).metadata.deletionTimestamp !== undefined;
      const [rule] = (['ghost', 'skip'] as const).map((fault) =>
        world.proxy.tamper({
          // Until its DELETED, nothing says that the Job ends: only then the task can go on.
          matches: (line) => modified('jobs')(line) && isEnding(line) === (fault === 'skip'),
          fault,
          times: Number.POSITIVE_INFINITY,
        }),
      );
      await cancelled(world);
      await world.sound({ task: 'Cancelled' });
      assert.ok(rule && rule.hits() > 0);
    }),
  );
});

const REORDER_MS = 700;

/** A write that changes nothing keeps the version: two writes with one version are one too many. */
function assertNoIdleWrite({ taskWrites }: Awaited<ReturnType<World['history']>>): void {
  const versions = taskWrites.map(({ name, version }) => `${name} at ${version}`);
  assert.deepEqual(
    versions.filter((version, index) => versions.indexOf(version) !== index),
    [],
  );
}

describe('C5 garbage in the stream', () => {
  const next = ({ proxy }: World, fault: LineFault, times = 1) =>
    KINDS.map((kind) => proxy.tamper({ matches: modified(kind), fault, times }));

  row(
    'C5/corrupt',
    'half a line for each kind: the stream is given up, and a list finds what was in it',
    () =>
      inWorld('corrupt', async (world) => {
        const operator = await world.operator({ forced: true });
        const rules = next(world, 'corrupt');
        await world.submit('task');
        await Promise.all(KINDS.map((kind) => ended(operator, kind, 'garbage')));
        await world.sound({ task: 'Succeeded' });
        assert.ok(rules.every((rule) => rule.hits() === 1));
      }),
  );

  row('C5/split', 'lines arrive in two parts with a pause between: they are read as one', () =>
    inWorld('split', async (world) => {
      const operator = await world.operator({ forced: true });
      const rules = next(world, 'split', 3);
      await world.submit('task');
      await world.sound({ task: 'Succeeded' });
      assert.ok(rules.every((rule) => rule.hits() > 0));
      assert.equal(await metricOf(operator, 'informer_watches_ended_total'), 0);
    }),
  );

  row(
    'C5/huge',
    'a line of 50 MB for each kind: it is not kept in memory, and a list finds what it hid',
    () =>
      inWorld('huge', async (world) => {
        const operator = await world.operator({ forced: true });
        const before = await memoryOf(operator);
        const rules = next(world, 'huge');
        await world.submit('task');
        await Promise.all(KINDS.map((kind) => ended(operator, kind, 'garbage')));
        await world.sound({ task: 'Succeeded' });
        assert.ok(rules.every((rule) => rule.hits() === 1));
        const grown = (await memoryOf(operator)).peak - before.now;
        assert.ok(grown < HUGE_LIMIT, `the operator grew by ${Math.round(grown / 2 ** 20)} MiB`);
      }),
  );
});

/** Three lines in parts up to the bound of 16 MiB each, and what the collector has not freed yet; kept whole they are 450 MB and more. */
const HUGE_LIMIT = 160 * 2 ** 20;
