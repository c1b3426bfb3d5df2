import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'mocha';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { isWrite, metadataOf, taskOf } from './rig/given.ts';
import { row } from './rig/row.ts';
import type { Fault, Injected, Logged, Seen } from './rig/rules.ts';
import { endsOf, kindOfWrite, type LifeName, REFERENCE, runLives, runReference } from './rig/workload.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** The distinct writes of the reference workload, as row O2 records them. */
const WRITES = z
  .array(z.string())
  .parse(JSON.parse(readFileSync(join(import.meta.dirname, 'rig', 'reference-writes.json'), 'utf8')));

/** A drained pod may be gone before or after its Job is: this write comes in most runs, not in all. */
const NOT_ALWAYS = new Set(['status Running/Starting 1+job']);

/** The first write of each kind meets the fault. */
function oncePerKind({ proxy }: World, fault: Fault): ReadonlyMap<string, Injected> {
  const inject = (kind: string) =>
    proxy.inject({ matches: (request) => kindOfWrite(request) === kind, fault });
  return new Map(WRITES.map((kind) => [kind, inject(kind)]));
}

function assertAllHit(rules: ReadonlyMap<string, Injected>): void {
  const missed = [...rules].filter(([kind, rule]) => rule.hits() === 0 && !NOT_ALWAYS.has(kind));
  assert.deepEqual(
    missed.map(([kind]) => kind),
    [],
    'each write met its fault',
  );
}

describe('D3 429 with Retry-After', () => {
  const TOO_MANY = { do: 'reply', status: 429, reason: 'TooManyRequests' } as const;
  const SLACK_MS = 50;

  row('D3', 'on every write of the reference workload: each is repeated, and not before its time', () =>
    inWorld('busy', async (world) => {
      const rules = oncePerKind(world, { ...TOO_MANY, retryAfterSeconds: 1 });
      await world.operator({ lease: 'usual' });
      await runReference(world);
      await world.sound(REFERENCE);
      assertAllHit(rules);
      for (const refused of world.proxy.log.filter(({ status, isWatch }) => status === 0 && !isWatch)) {
        const next = world.proxy.log.find(
          (entry) =>
            entry.atMs > refused.atMs &&
            entry.path === refused.path &&
            entry.method === refused.method &&
            entry.body === refused.body,
        );
        assert.ok(next, `${refused.method} ${refused.path} never came again`);
        const waited = next.atMs - refused.atMs;
        assert.ok(
          waited >= 1000 - SLACK_MS,
          `${refused.method} ${refused.path} came again after ${waited} ms`,
        );
      }
    }),
  );

  row(
    'D3/all',
    'on one write: no worker asks the API server for anything before its time',
    () =>
      inWorld('busy', async (world) => {
        const PAUSE_S = 3;
        const late = ['b', 'c', 'd', 'e'];
        const answered = Promise.withResolvers<number>();
        world.proxy.inject({
          matches: isWrite('a', 'status Pending/Starting 1'),
          fault: { ...TOO_MANY, retryAfterSeconds: PAUSE_S },
          after: () => answered.resolve(performance.now()),
        });
        await world.operator({ lease: 'usual' });
        await world.submit('a');
        const at = await answered.promise;
        for (const task of late) await world.submit(task); // none of their requests can have been on its way before
        await world.sound(Object.fromEntries(['a', ...late].map((task) => [task, 'Succeeded'])));
        for (const task of ['a', ...late]) {
          const first = world.proxy.log.find((entry) => taskOf(entry) === task && entry.atMs > at);
          const waited = (first?.atMs ?? 0) - at;
          assert.ok(
            waited >= PAUSE_S * 1000 - SLACK_MS,
            `the first write about ${task} came after ${waited} ms`,
          );
        }
      }),
    { smoke: true },
  );
});

describe('D4 nobody knows what became of a write', () => {
  const fails = (how: 'reply' | 'lie', status: number, reason: string): Fault => ({
    do: how,
    status,
    reason,
  });
  const FAULTS: Readonly<Record<string, Fault>> = {
    500: fails('reply', 500, 'InternalError'),
    503: fails('reply', 503, 'ServiceUnavailable'),
    504: fails('reply', 504, 'Timeout'),
    '504-but-done': fails('lie', 504, 'Timeout'),
    'reset-before': { do: 'drop-request' },
    'reset-after': { do: 'drop-response' },
  };
  for (const [name, fault] of Object.entries(FAULTS)) {
    row(
      `D4/${name}`,
      'every write of the reference workload meets it once: read again, one Job, the true end',
      () =>
        inWorld('unsure', async (world) => {
          const rules = oncePerKind(world, fault);
          await world.operator({ lease: 'usual' });
          await runReference(world);
          await world.sound(REFERENCE);
          assertAllHit(rules);
          assertReadBeforeAgain(world);
        }),
    );
  }

  row(
    'D4/500-for-long',
    'no Job can be created for a while: said after the second time, and then tried seldom',
    () =>
      inWorld('unsure', async (world) => {
        const creation = isWrite('late', 'create jobs');
        const fault = { do: 'reply', status: 500, reason: 'InternalError' } as const;
        const broken = world.proxy.inject({ matches: creation, fault, times: Number.POSITIVE_INFINITY });
        await world.operator({ lease: 'usual' });
        await world.submit('late');
        const status = await world.until('late', 'its reason', ({ reason }) => reason === 'ReconcileFailed');
        assert.equal(status.phase, 'Pending');
        assert.match(status.message ?? '', /The Job cannot be created: .*answered 500 InternalError/);
        broken.remove();
        await world.sound({ late: 'Succeeded' });
        assert.equal(world.proxy.log.filter(creation).length, 3);
        assertReadBeforeAgain(world);
      }),
  );

  /** Which life shows which write. */
  const LIFE_OF: Readonly<Record<string, LifeName>> = {
    'delete jobs': 'cancelled',
    'status Cancelled/Cancelled 1+job': 'cancelled',
    'status Failed/InvalidInput': 'invalid',
    'status Failed/ModelError 2+job': 'fails',
    'status Pending/Cancelling 1+job': 'early',
    'status Pending/Retrying 1+job': 'retried',
    'status Pending/Starting 2': 'retried',
    'status Pending/Starting 2+job': 'retried',
    'status Pending/Suspended 1+job': 'paused',
    'status Running/Cancelling 1+job': 'cancelled',
    'status Running/Running 2+job': 'retried',
    'status Running/Starting 1+job': 'evicted',
    'status Running/Suspending 1+job': 'paused',
    'status Succeeded/Published 2+job': 'retried',
  };

  row(
    'D4/hang',
    'each write, in a task of its own, is never answered: given up, read again, the true end',
    () =>
      inWorld('hang', async (world) => {
        const kinds = WRITES.filter((kind) => !kind.includes('analysismodels'));
        const tasks = new Map(kinds.map((kind, index) => [kind, `t${index}`]));
        const rules = new Map(
          kinds.map((kind) => {
            const task = tasks.get(kind) ?? '';
            const matches = (request: Seen): boolean =>
              kindOfWrite(request) === kind &&
              request.path.concat(request.body).includes(nameIn(request, task));
            return [kind, world.proxy.inject({ matches, fault: { do: 'hang' } })];
          }),
        );
        const lives = Object.fromEntries(kinds.map((kind) => [tasks.get(kind) ?? '', LIFE_OF[kind] ?? 'ok']));
        await world.operator({ lease: 'usual' });
        await runLives(world, lives, { runMs: 2000 });
        await world.sound(endsOf(lives));
        assertAllHit(rules);
        assertReadBeforeAgain(world);
      }),
  );

  /** How a request names a task: in the path of its status, in the body of its Job, in the name of that Job. */
  function nameIn({ method, path }: Seen, task: string): string {
    if (path.includes('/status')) return `/analysistasks/${task}/status`;
    return method === 'DELETE' ? `/jobs/${task}-` : `"analysis.elsi.dev/task":"${task}"`;
  }

  /** A Job whose creation was not confirmed is not created again before the API server was asked and the claim renewed. */
  function assertReadBeforeAgain({ proxy: { log } }: World): void {
    const posts = log.filter((entry) => kindOfWrite(entry) === 'create jobs');
    for (const [index, post] of posts.entries()) {
      const { name } = metadataOf(post);
      const before = posts.slice(0, index).findLast((entry) => metadataOf(entry).name === name);
      if (!before) continue;
      const between = log.slice(log.indexOf(before) + 1, log.indexOf(post));
      assert.ok(between.some(isListOfJobs), `${name} is created again after a look`);
      assert.ok(
        between.some((entry) => entry.status === 200 && taskOf(entry) === taskOf(post)),
        'and a new claim',
      );
    }
  }
  const isListOfJobs = ({ method, path, isWatch }: Logged): boolean =>
    method === 'GET' && !isWatch && /\/jobs\?.*labelSelector=[^&]*task-uid/.test(path);
});

describe('D11 every answer is slow', () => {
  const isLease = ({ path }: Seen): boolean => path.includes('/leases');
  const BEYOND_MS = 33_000; // the operator gives a call 30 s

  row(
    'D11',
    'by seconds, two beyond their deadline: one reconcile per task at a time, and the lease is kept',
    () =>
      inWorld('slow', async (world) => {
        const operator = await world.operator({ lease: 'usual' });
        world.node.script('reported', () => ({ runMs: 5000 })); // long enough to be reported as Running
        const delay = (matches: (request: Seen) => boolean, ms: number, times: number): Injected =>
          world.proxy.inject({ matches, fault: { do: 'delay', ms }, times });
        const late = [
          delay(isWrite('posted', 'create jobs'), BEYOND_MS, 1),
          delay(isWrite('reported', 'status Running/Running 1+job'), BEYOND_MS, 1),
        ];
        delay((request) => isLease(request), 1000, Number.POSITIVE_INFINITY);
        delay((request) => !request.isWatch, 700, Number.POSITIVE_INFINITY);
        const lives = { posted: 'ok', reported: 'ok', retried: 'retried', cancelled: 'cancelled' } as const;
        await runLives(world, lives);
        await world.sound(endsOf(lives));
        assert.deepEqual(
          late.map((rule) => rule.hits()),
          [1, 1],
        );
        for (const task of Object.keys(lives)) assert.deepEqual(await overlaps(world, task), []);
        const longest = Math.max(...world.proxy.log.filter(({ isWatch }) => !isWatch).map(lengthOf));
        assert.ok(longest < BEYOND_MS - 500, `a call was waited for ${longest} ms`);
        assert.doesNotMatch(operator.log().join('\n'), /Lost leadership|Cannot renew/);
      }),
  );

  const lengthOf = ({ atMs, endedMs = atMs }: Logged): number => endedMs - atMs;

  /** Calls about one task of which the later began while the earlier one was not over; reads may go in pairs. */
  async function overlaps({ proxy, lab }: World, task: string): Promise<string[]> {
    const { uid } = (await lab.get(task)).metadata;
    const about = (request: Logged): boolean =>
      !request.isWatch &&
      (taskOf(request) === task || request.path.includes(`/jobs/${task}-`) || request.path.includes(uid));
    const calls = proxy.log.filter(about).toSorted((a, b) => a.atMs - b.atMs);
    assert.ok(calls.length > 3);
    return calls.slice(1).flatMap((call, index) => {
      const before = calls[index];
      const bothRead = call.method === 'GET' && before?.method === 'GET';
      const overlapMs = before && !bothRead ? (before.endedMs ?? Number.POSITIVE_INFINITY) - call.atMs : 0;
      return overlapMs > 100
        ? [`${before?.method} ${before?.path} and ${call.method} ${call.path}: ${overlapMs} ms`]
        : [];
    });
  }
});

describe('O5 steady state', () => {
  const RELISTS = 3;

  row('O5', 'nothing is written over three relists, whatever tasks wait for, run or have become', () =>
    inWorld('steady', async (world) => {
      const { node, proxy } = world;
      await world.operator({ lease: 'usual', config: { resyncSeconds: 10 } });
      node.script('runs', () => ({ model: 'hangs' }));
      node.script('prepares', () => ({ model: 'waits' }));
      for (const task of ['runs', 'prepares']) await world.submit(task);
      await world.submit('idle', { desired: 'Suspend' });
      await world.submit('lacks', { model: 'no-such-model' });
      await runReference(world);
      const steady = { runs: 'Running', prepares: 'Preparing', idle: 'Suspended', lacks: 'ModelNotFound' };
      const waits = Object.fromEntries(
        Object.entries(steady).map(([task, reason]) => [task, { waits: reason }]),
      );
      await world.sound({ ...REFERENCE, ...waits });
      await eventually('its events are written', () =>
        lastWriteMs(proxy.log) < performance.now() - 1000 ? true : undefined,
      );
      const from = proxy.log.length;
      const relists = () =>
        proxy.log.slice(from).filter(({ path }) => /analysistasks\?.*resourceVersionMatch=Exact/.test(path));
      await eventually('three relists', () => (relists().length >= RELISTS ? true : undefined), RECOVERY_MS);
      const written = proxy.log.slice(from).filter(isWriteAtAll);
      assert.deepEqual(
        written.map(({ method, path, body }) => `${method} ${path} ${body.slice(0, 500)}`),
        [],
      );
    }),
  );

  const isWriteAtAll = ({ method, path }: Logged): boolean => method !== 'GET' && !path.includes('/leases');
  const lastWriteMs = (log: readonly Logged[]): number => log.findLast(isWriteAtAll)?.atMs ?? 0;
});
