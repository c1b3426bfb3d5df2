import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import type { Operator } from '../support/operator.ts';
import { taskPath } from './rig/given.ts';
import type { Pod } from './rig/pod.ts';
import { metricOf } from './rig/measure.ts';
import { type Proxy, startProxy } from './rig/proxy.ts';
import { row } from './rig/row.ts';
import type { Logged } from './rig/rules.ts';
import { startSilentPod } from './rig/silent-pod.ts';
import { extendTaskStatus } from './rig/newer-version.ts';
import { kindOfWrite, REFERENCE, runReference } from './rig/workload.ts';
import { inWorld, INSTALLED, RECOVERY_MS, type World } from './rig/world.ts';

const terms = (operator: Operator): number =>
  operator.log().filter((line) => line.includes('Became leader')).length;

const leads = (operator: Operator, deadlineMs = RECOVERY_MS): Promise<true> =>
  eventually('it leads', () => (terms(operator) > 0 ? true : undefined), deadlineMs);

const changes = ({ method, path }: Logged): boolean => method !== 'GET' && !path.includes('/leases/');

interface Pair {
  readonly world: World;
  /** Leads, behind a proxy of its own. */
  readonly first: Operator;
  readonly own: Proxy;
  /** Waits, behind the proxy of the world. */
  readonly second: Operator;
}

type Options = NonNullable<Parameters<World['operator']>[0]>;

/** Short, and still longer than a renewal takes on a machine with much to do. */
const SHORT = { leaseDurationSeconds: 6, renewDeadlineSeconds: 4, retryPeriodSeconds: 1 };

/** Two operators, each with its own line to the API server; the first one leads, unless both are forced to. */
async function inPair(
  prefix: string,
  run: (pair: Pair) => Promise<void>,
  both: Options = { config: { leaderElection: SHORT } },
  ofFirst: Options['config'] = {},
): Promise<void> {
  const own = await startProxy(controlPlane().kubeconfig);
  try {
    await inWorld(prefix, async (world) => {
      const first = await world.operator({ ...both, proxy: own, config: { ...both.config, ...ofFirst } });
      if (!both.forced) await leads(first);
      await run({ world, first, own, second: await world.operator(both) });
    });
  } finally {
    await own.close();
  }
}

const defaultLease = async (run: (pair: Pair) => Promise<void>): Promise<void> =>
  inPair('takeover', run, { config: { leaderElection: INSTALLED } });

describe('E1 the leader stops', () => {
  row(
    'E1',
    'frozen with a claim on its way until another one leads, it wakes up, sends nothing more and exits',
    () =>
      inPair('frozen', async ({ world, first, own, second }) => {
        const claim = own.inject({
          matches: (request) => kindOfWrite(request) === 'status Pending/Starting 1',
          fault: { do: 'delay', ms: 500 },
          onHit: () => first.signal('SIGSTOP'),
        });
        await world.submit('task');
        await leads(second);
        assert.equal(claim.hits(), 1);
        await world.ended('task');
        await world.submit('after');
        const before = own.log.filter(changes).length;
        first.signal('SIGCONT');
        assert.equal(await first.exited(), 1, 'it says that it lost the lease');
        assert.deepEqual(own.log.filter(changes).slice(before), []);
        await world.sound({ task: 'Succeeded', after: 'Succeeded' });
      }),
    { smoke: true },
  );

  row('E1/takeover-after-kill', 'with the default lease another one leads within 20 s', () =>
    defaultLease(async ({ world, first, second }) => {
      await world.submit('before');
      await world.running('before');
      await first.stop('SIGKILL');
      await leads(second, 20_000);
      await world.submit('after');
      await world.sound({ before: 'Succeeded', after: 'Succeeded' });
    }),
  );

  row('E1/takeover-after-stop', 'with the default lease another one leads within 2 s', () =>
    defaultLease(async ({ world, first, second }) => {
      world.node.script('during', () => ({ runMs: 3000 }));
      await world.submit('during');
      await world.running('during');
      const stopped = first.stop();
      await leads(second, 2_000);
      assert.equal(await stopped, 0);
      await world.submit('after');
      await world.sound({ during: 'Succeeded', after: 'Succeeded' });
    }),
  );
});

describe('E2 the leader is cut off', () => {
  row(
    'E2',
    'from the API server alone: it also stops asking pods before another one leads, hangs up, and exits',
    () =>
      inPair(
        'cut-off',
        async ({ world, first, own, second }) => {
          const pod = await startSilentPod();
          try {
            world.node.script('polled', () => ({
              model: 'hangs',
              onModel: (it) => void giveAddress(it, pod.ip),
            }));
            await world.submit('polled');
            await eventually('the pod is asked', () => (pod.asked() > 0 ? true : undefined));
            own.halfOpen(true);
            await leads(second);
            const asked = pod.asked();
            assert.equal(pod.open(), 0, 'nobody holds a call to the pod any more');
            assert.equal(await first.exited(), 1);
            await world.desire('polled', 'Cancel');
            await world.submit('after');
            await world.sound({ polled: 'Cancelled', after: 'Succeeded' });
            assert.equal(pod.asked(), asked);
          } finally {
            await pod.close();
          }
        },
        undefined,
        { progress: { enabled: true, intervalSeconds: 1 } },
      ),
  );

  row('E2/renewals', 'only its renewals fail, everything else works: it stops all the same', () =>
    inPair('renewals', async ({ world, first, own, second }) => {
      world.node.script('cancelled', () => ({ model: 'hangs' }));
      await world.submit('cancelled');
      await world.running('cancelled');
      own.inject({
        matches: ({ method, path }) => method === 'PUT' && path.includes('/leases/'),
        fault: { do: 'reply', status: 403, reason: 'Forbidden' },
        times: Number.POSITIVE_INFINITY,
      });
      await leads(second);
      const before = own.log.filter(changes).length;
      await world.desire('cancelled', 'Cancel');
      await world.submit('after');
      assert.equal(await first.exited(), 1);
      await world.sound({ cancelled: 'Cancelled', after: 'Succeeded' });
      assert.deepEqual(own.log.filter(changes).slice(before), []);
    }),
  );
});

/** As kubelet does once the pod's network is there. */
async function giveAddress({ metadata }: Pod, ip: string): Promise<void> {
  const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}/status`;
  const body = { status: { podIP: ip, podIPs: [{ ip }] } };
  const contentType = 'application/strategic-merge-patch+json';
  expectOk(await controlPlane().api.call('PATCH', path, { body, contentType }));
}

describe('E3 two leaders', () => {
  row('E3/claims', 'both have decided to claim before either claim is written: one is refused, one Job', () =>
    inPair(
      'claims',
      async ({ world, own }) => {
        const decided = Promise.withResolvers<void>();
        let claims = 0;
        for (const line of [own, world.proxy])
          line.inject({
            matches: (request) => kindOfWrite(request) === 'status Pending/Starting 1',
            fault: { do: 'pass' },
            before: async () => {
              if (++claims === 2) decided.resolve();
              await decided.promise;
            },
          });
        await world.submit('t');
        await world.sound({ t: 'Succeeded' });
        assert.equal(claims, 2);
      },
      { forced: true },
    ),
  );

  const fromTheStart = (): Promise<void> => Promise.resolve();
  const blindness: Readonly<
    Record<string, readonly [string, readonly string[], (world: World) => Promise<unknown>]>
  > = {
    reference: ['both see everything', [], fromTheStart],
    'no-jobs': ['one of them hears nothing of Jobs and pods', ['jobs', 'pods'], fromTheStart],
    'old-tasks': [
      'one of them has old copies of tasks from the first claim on',
      ['analysistasks'],
      ({ lab }) =>
        eventually(
          'a claim',
          async () => (await lab.get('ok').catch(() => undefined))?.status?.attempt,
          RECOVERY_MS,
        ),
    ],
  };
  for (const [id, [title, hidden, begin]] of Object.entries(blindness))
    row(`E3/${id}`, `${title}: the whole workload ends right, and nothing runs twice`, () =>
      inPair(
        'both',
        async ({ world, own }) => {
          const workload = runReference(world);
          await begin(world);
          if (hidden.length > 0) own.freeze(...hidden);
          await workload;
          await Promise.all(Object.keys(REFERENCE).map((task) => world.ended(task)));
          own.thaw(); // what it hears late must change nothing
          await world.sound(REFERENCE);
        },
        { forced: true },
      ),
    );
});

const leasePath = ({ lab }: World): string =>
  `/apis/coordination.k8s.io/v1/namespaces/${lab.namespace}/leases/analysis-operator`;

async function patchLease(world: World, spec: object): Promise<void> {
  const contentType = 'application/merge-patch+json';
  expectOk(await controlPlane().api.call('PATCH', leasePath(world), { body: { spec }, contentType }));
}

const microTime = (shiftMs: number): string =>
  new Date(Date.now() + shiftMs).toISOString().replace(/Z$/, '000Z');

/** How many of them believe to lead now; one that has exited believes nothing. */
async function leaders(...operators: readonly Operator[]): Promise<number> {
  const asked = operators.map((each) => metricOf(each, 'leader_election_master_status').catch(() => 0));
  return (await Promise.all(asked)).reduce((sum, one) => sum + one, 0);
}

describe('E4 somebody touches the lease', () => {
  row('E4/deleted', 'the lease is deleted: one of them leads, and there is no to and fro', () =>
    inPair('no-lease', async ({ world, first, second }) => {
      expectOk(await controlPlane().api.call('DELETE', leasePath(world)));
      await eventually('one leads', () => (terms(first) + terms(second) === 2 ? true : undefined));
      await world.submit('task');
      await world.sound({ task: 'Succeeded' });
      assert.deepEqual([terms(first) + terms(second), await leaders(first, second)], [2, 1]);
    }),
  );

  row('E4/garbage', 'a holder that does not exist is respected for its time and then replaced', () =>
    inPair('garbage', async ({ world, first, second }) => {
      await patchLease(world, { holderIdentity: '☃ nobody', renewTime: microTime(3_600_000) });
      assert.equal(await first.exited(), 1);
      await leads(second);
      await world.submit('task');
      await world.sound({ task: 'Succeeded' });
      assert.deepEqual([terms(first) + terms(second), await leaders(first, second)], [2, 1]);
    }),
  );

  for (const hours of [1, -1])
    row(
      `E4/${hours > 0 ? 'ahead' : 'behind'}`,
      `the stamp of the lease is off by ${hours} h: nobody cares`,
      () =>
        inPair('stamp', async ({ world, first, second }) => {
          await patchLease(world, { renewTime: microTime(hours * 3_600_000) });
          await world.submit('task');
          await world.sound({ task: 'Succeeded' });
          assert.deepEqual([terms(first), terms(second)], [1, 0]);
        }),
    );
});

describe('E6 an upgrade and the way back', () => {
  row('E6/rolling', 'the operator is replaced twice while the whole workload runs', () =>
    inWorld('rolling', async (world) => {
      const config = { leaderElection: SHORT };
      let operator = await world.operator({ config });
      const workload = runReference(world);
      for (const task of ['cancelled', 'paused']) {
        await world.running(task).catch(() => undefined); // it may be over already
        const next = await world.operator({ config });
        assert.equal(await operator.stop(), 0);
        await leads(next);
        operator = next;
      }
      await workload;
      await world.sound(REFERENCE);
    }),
  );

  row(
    'E6/newer-status',
    'what a newer version wrote into a status outlives the older one that takes over',
    async () => {
      const restore = await extendTaskStatus();
      try {
        await inWorld('newer', async (world) => {
          world.node.script('task', () => ({ runMs: 5000 }));
          const newer = await world.operator({ forced: true });
          await world.submit('task');
          await world.running('task');
          await newer.stop();
          const later = { attempt: { later: 'in the attempt' }, later: { delivered: [1, 2] } };
          await writeStatus(world, 'task', later);
          await world.operator({ forced: true });
          await world.sound({ task: 'Succeeded' });
          const { status } = versionless.parse(await rawTask(world, 'task'));
          assert.deepEqual(status.later, later.later);
          assert.equal(status.attempt.later, later.attempt.later);
        });
      } finally {
        await restore();
      }
    },
  );
});

const versionless = z.object({
  status: z.object({ later: z.unknown(), attempt: z.object({ later: z.unknown() }) }),
});

const rawTask = async (world: World, task: string): Promise<unknown> =>
  expectOk(await controlPlane().api.call('GET', taskPath(world, task)));

async function writeStatus(world: World, task: string, status: object): Promise<void> {
  const contentType = 'application/merge-patch+json';
  const path = `${taskPath(world, task)}/status`;
  expectOk(await controlPlane().api.call('PATCH', path, { body: { status }, contentType }));
}
