import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe } from 'mocha';
import { API_VERSION } from '../../src/api/keys.ts';
import { runName } from '../../src/elsi/run.ts';
import { mapBounded } from '../../src/lib/concurrent.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import type { Operator } from '../support/operator.ts';
import { type ElsiWorld, inElsiWorld } from './rig/elsi.ts';
import { leads, metricOf } from './rig/measure.ts';
import { startRelay } from './rig/relay.ts';
import { row } from './rig/row.ts';
import { kindOfWrite } from './rig/workload.ts';
import { RECOVERY_MS } from './rig/world.ts';

const SHIFTED_CLOCK = join(import.meta.dirname, 'rig', 'shifted-clock.ts');
const DAY_MS = 86_400_000;

async function isReady({ healthUrl }: Operator): Promise<void> {
  const [ready, live] = await Promise.all(['readyz', 'livez'].map((path) => fetch(`${healthUrl}/${path}`)));
  assert.deepEqual(
    [ready?.status, live?.status],
    [200, 200],
    'an ELSI that is down makes no process unready',
  );
}

describe('J0 ELSI is down', () => {
  row(
    'J0',
    'while tasks run and end and elsi-sync is replaced: they run on, it is ready, the end is told afterwards',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        const first = await elsi.sync();
        elsi.world.node.script(runName(uid, 1), () => ({ runMs: 3000 }));
        await elsi.reaches(uid, 'Running');
        await elsi.outage(async () => {
          await elsi.reaches(uid, 'Succeeded');
          await isReady(first);
          await first.stop('SIGKILL');
          const second = await elsi.sync();
          await failedRounds(second, 1);
          await isReady(second);
        });
        await elsi.complete(uid);
      }),
  );

  for (const [name, fault] of Object.entries({
    '5xx': { kind: 'status', status: 503, page: true },
    hang: { kind: 'hang' },
    half: { kind: 'half' },
    page: { kind: 'page' },
  } as const))
    row(`J0/${name}`, 'lists that fail in any way are tried again, later and later', () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.standIn.inject({ on: 'list', times: 3, do: fault });
        await elsi.sync();
        await elsi.complete(uid);
      }),
    );

  for (const [name, url] of Object.entries({
    dns: () => 'http://no-such-elsi.invalid',
    tls: ({ standIn }: ElsiWorld) => standIn.url.replace('http:', 'https:'),
  }))
    row(`J0/${name}`, 'its address leads nowhere: elsi-sync stays ready, and what runs runs on', () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.world.node.script(runName(uid, 1), () => ({ runMs: 2000 }));
        const first = await elsi.sync();
        await elsi.reaches(uid, 'Running');
        await first.stop();
        const lost = await elsi.sync({ url: url(elsi) });
        await elsi.reaches(uid, 'Succeeded');
        await failedRounds(lost, 2);
        await isReady(lost);
        await lost.stop();
        await elsi.sync();
        await elsi.complete(uid);
      }),
    );

  row(
    'J0/day',
    'for a day in which 500 tasks end and elsi-sync is replaced: two lists later all is as it should be',
    () => inElsiWorld(dayWithoutElsi, { operator: false }),
  );
});

const failedRounds = (sync: Operator, least: number) =>
  eventually(
    `${least} rounds failed`,
    async () => ((await metricOf(sync, 'elsi_polls_total', 'result="error"')) >= least ? true : undefined),
    RECOVERY_MS,
  );

/** No operator and no node take part: the row itself writes how 500 tasks go on. */
async function dayWithoutElsi(elsi: ElsiWorld): Promise<void> {
  const uids = Array.from({ length: 500 }, () => elsi.submit());
  const clock = { preload: SHIFTED_CLOCK, env: { CLOCK_JUMP_MS: String(DAY_MS) } };
  const first = await elsi.sync(clock);
  await eventually(
    '500 runs',
    async () => (await actions(first, 'create')) === 500 || undefined,
    RECOVERY_MS,
  );
  const startedAt = new Date().toISOString();
  await write(elsi, uids, () => ({ phase: 'Running', reason: 'Running', startedAt }));
  for (const uid of uids) await elsi.shows(uid, 'RUNNING');
  await elsi.outage(async () => {
    await failedRounds(first, 1);
    first.signal('SIGUSR2'); // a day goes by
    await write(elsi, uids, (index) => endOf(index, startedAt));
    await failedRounds(first, 2);
    await isReady(first);
    await first.stop('SIGKILL');
    await failedRounds(await elsi.sync({ ...clock, env: { CLOCK_SHIFT_MS: String(DAY_MS) } }), 1);
  });
  for (const [index, uid] of uids.entries()) await elsi.shows(uid, fails(index) ? 'FAILED' : 'COMPLETED');
  assert.ok(elsi.standIn.requests.list <= 2, `${elsi.standIn.requests.list} lists`);
  for (const [index, uid] of uids.entries()) {
    elsi.told(uid, fails(index) ? 'FAILED' : 'COMPLETED');
    await elsi.acknowledged(uid);
  }
  const ends = elsi.standIn.puts.length;
  assert.equal(ends, 500, 'each end was told once');
}

const fails = (index: number): boolean => index % 10 === 0;

function endOf(index: number, startedAt: string): object {
  const at = new Date().toISOString();
  const condition = {
    type: 'Succeeded',
    status: fails(index) ? 'False' : 'True',
    reason: fails(index) ? 'ModelError' : 'Succeeded',
    message: '',
    lastTransitionTime: at,
  };
  const phase = fails(index) ? 'Failed' : 'Succeeded';
  return { phase, reason: condition.reason, startedAt, finishedAt: at, conditions: [condition] };
}

const actions = (sync: Operator, action: string) =>
  metricOf(sync, 'elsi_actions_total', `action="${action}"`);

async function write(
  { world }: ElsiWorld,
  uids: readonly string[],
  statusOf: (index: number) => object,
): Promise<void> {
  const base = `/apis/${API_VERSION}/namespaces/${world.lab.namespace}/analysistasks`;
  const contentType = 'application/merge-patch+json';
  await mapBounded([...uids.entries()], WRITES_AT_ONCE, async ([index, uid]) => {
    const body = { status: statusOf(index) };
    const path = `${base}/${runName(uid, 1)}/status`;
    expectOk(await controlPlane().api.call('PATCH', path, { body, contentType }));
  });
}

const WRITES_AT_ONCE = 8;

describe('A elsi-sync is killed', () => {
  row(
    'A5',
    'after each PUT was carried out and before it knew: the end is told, none is taken back, none is told twice',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        const killedAfterPut = async (status: string): Promise<void> => {
          elsi.standIn.inject({ on: 'put', do: { kind: 'hang', after: true } });
          const sync = await elsi.sync();
          const carriedOut = () => elsi.standIn.audit.some((entry) => entry.status === status) || undefined;
          await eventually(`${status} was carried out`, carriedOut, RECOVERY_MS);
          await sync.stop('SIGKILL');
        };
        elsi.world.node.script(runName(uid, 1), () => ({ runMs: 3000 }));
        await killedAfterPut('RUNNING');
        await elsi.reaches(uid, 'Succeeded');
        await killedAfterPut('COMPLETED');
        const { finalizers } = (await elsi.world.lab.get(runName(uid, 1))).metadata;
        assert.equal(finalizers?.length, 1, 'it is held until somebody has seen the end in ELSI');
        await elsi.sync();
        await elsi.complete(uid);
        assert.deepEqual(
          elsi.standIn.audit.flatMap(({ status }) => status ?? []),
          ['RUNNING', 'COMPLETED'],
        );
      }),
  );

  row(
    'A6',
    'an AnalysisTask of ELSI is deleted while it runs: it stops, ELSI learns FAILED, and then it goes',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.world.node.script(runName(uid, 1), () => ({ model: 'hangs' }));
        const sync = await elsi.sync();
        await elsi.shows(uid, 'RUNNING');
        await sync.stop('SIGKILL');
        await elsi.world.lab.deleteTask(runName(uid, 1));
        await elsi.reaches(uid, 'Cancelled');
        await elsi.sync();
        await elsi.shows(uid, 'FAILED');
        elsi.told(uid, 'FAILED');
        await elsi.world.sound({ [runName(uid, 1)]: 'gone' });
      }),
    { smoke: true },
  );

  const moments = { 'elsi-not-sent': 'drop-request', 'elsi-not-answered': 'drop-response' } as const;
  for (const [name, fault] of Object.entries(moments))
    row(`A6/${name}`, 'killed while it lets go of a deleted task: the task goes, and FAILED was told', () =>
      inElsiWorld(async (elsi) => {
        const proxy = await elsi.world.anotherProxy();
        const uid = elsi.submit();
        elsi.world.node.script(runName(uid, 1), () => ({ model: 'hangs' }));
        const sync = await elsi.sync({ proxy });
        await elsi.shows(uid, 'RUNNING');
        const letGo = proxy.inject({
          matches: (request) => kindOfWrite(request) === 'patch analysistasks',
          fault: { do: fault },
          onHit: () => void sync.stop('SIGKILL'),
        });
        await elsi.world.lab.deleteTask(runName(uid, 1));
        assert.equal(await sync.exited(), null, 'it was killed');
        assert.equal(letGo.hits(), 1);
        assert.equal(elsi.standIn.tasks.get(uid)?.status_label, 'FAILED', 'told before the task is let go');
        await elsi.sync();
        await elsi.world.sound({ [runName(uid, 1)]: 'gone' });
        elsi.told(uid, 'FAILED');
      }),
    );
});

describe('E2 the leading elsi-sync loses the API server alone', () => {
  row(
    'E2/elsi',
    'ELSI stays in reach: it tells nothing any more before another one leads, exits, and ELSI ends right',
    () =>
      inElsiWorld(async (elsi) => {
        const [proxy, relay] = [await elsi.world.anotherProxy(), await startRelay(elsi.standIn.url)];
        try {
          const uid = elsi.submit();
          const ended = Promise.withResolvers<void>();
          elsi.world.node.script(runName(uid, 1), () => ({ until: ended.promise }));
          const first = await elsi.sync({ proxy, url: relay.url });
          await leads(first);
          const second = await elsi.sync();
          await elsi.shows(uid, 'RUNNING');
          proxy.halfOpen(true);
          await leads(second);
          const before = relay.sent('PUT');
          ended.resolve();
          // Whoever looks has something to tell in each round; the old leader still sees a run that is under way.
          for (let round = 0; round < 3; round++) {
            await elsi.shows(uid, 'COMPLETED');
            elsi.standIn.set(uid, { status_label: 'pending' });
          }
          await elsi.polls(4);
          assert.equal(relay.sent('PUT'), before, 'the old leader told something after the new one led');
          assert.equal(await first.exited(), 1, 'it says that it lost the lease');
          await elsi.shows(uid, 'COMPLETED');
          const told = elsi.standIn.audit.map(({ status }) => status);
          assert.ok(told.lastIndexOf('RUNNING') < told.indexOf('COMPLETED'), told.join());
          await elsi.complete(uid);
        } finally {
          await relay.close();
        }
      }),
  );
});
