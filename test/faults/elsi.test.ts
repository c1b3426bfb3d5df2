import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe } from 'mocha';
import { runName } from '../../src/elsi/run.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { API_VERSION } from '../../src/api/keys.ts';
import { type ElsiWorld, inElsiWorld } from './rig/elsi.ts';
import { memoryOf } from './rig/measure.ts';
import { row } from './rig/row.ts';
import { RECOVERY_MS } from './rig/world.ts';

const runs = ({ world }: ElsiWorld, uid: string) =>
  world.node.ledger.filter(({ task }) => task.includes(uid)).length;
const expectations = (uids: readonly string[]) =>
  Object.fromEntries(uids.map((uid) => [runName(uid, 1), 'Succeeded' as const]));

/** Whether the finalizer is gone, which says that ELSI was seen to show the end. */
const acknowledged = ({ world }: ElsiWorld, uid: string, run = 1) =>
  eventually(
    'the end is acknowledged',
    async () =>
      ((await world.lab.get(runName(uid, run))).metadata.finalizers ?? []).length === 0 || undefined,
    RECOVERY_MS,
  );

/** ELSI shows that they are completed, was told so once in order and is known to show it; and all oracles hold. */
async function complete(elsi: ElsiWorld, ...uids: readonly string[]): Promise<void> {
  for (const uid of uids) {
    await elsi.shows(uid, 'COMPLETED');
    await acknowledged(elsi, uid);
    elsi.told(uid, 'COMPLETED');
  }
  await elsi.world.sound(expectations(uids));
}

async function polls({ standIn }: ElsiWorld, count: number): Promise<void> {
  const until = standIn.requests.list + count;
  await eventually(
    `${count} more lists`,
    () => (standIn.requests.list >= until ? true : undefined),
    RECOVERY_MS,
  );
}

describe('J tasks of ELSI', () => {
  row(
    'J/happy',
    'a task is run once and told RUNNING and COMPLETED, with an estimate',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        await elsi.sync();
        await complete(elsi, uid);
        assert.ok(Number(elsi.standIn.tasks.get(uid)?.estimated_duration) >= 1);
      }),
    { smoke: true },
  );

  row(
    'J0',
    'ELSI is down while tasks run and end: they run on, the process stays ready, the end is told afterwards',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        const sync = await elsi.sync();
        elsi.world.node.script(runName(uid, 1), () => ({ runMs: 3000 }));
        await elsi.reaches(uid, 'Running');
        await elsi.outage(async () => {
          await elsi.reaches(uid, 'Succeeded');
          const ready = await fetch(`${sync.healthUrl}/readyz`);
          assert.equal(ready.status, 200, 'an ELSI that is down makes no process unready');
        });
        await complete(elsi, uid);
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
        await complete(elsi, uid);
      }),
    );

  row(
    'J1',
    'tokens that expire early or carry a nonsensical lifetime are renewed, with one login for each',
    () =>
      inElsiWorld(async (elsi) => {
        const uids = ['soon', 0, -5, 1e12].map((expiresIn) => {
          elsi.standIn.inject({ on: 'login', do: { kind: 'token', expiresIn } });
          return elsi.submit();
        });
        await elsi.sync();
        for (const uid of uids) {
          elsi.standIn.expireTokens();
          await polls(elsi, 2);
          await elsi.shows(uid, 'COMPLETED');
          elsi.told(uid, 'COMPLETED');
        }
        const before = elsi.standIn.requests.login;
        elsi.standIn.expireTokens();
        await polls(elsi, 3);
        assert.equal(elsi.standIn.requests.login, before + 1, 'one 401, one login');
        await elsi.world.sound(expectations(uids));
      }),
  );

  row('J2', 'a login that is refused is tried again later and later, and its secret is in no log', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      for (const status of [401, 403, 500])
        elsi.standIn.inject({ on: 'login', do: { kind: 'status', status, page: true } });
      elsi.standIn.inject({ on: 'login', do: { kind: 'status', status: 429, retryAfter: 3 } });
      const started = performance.now();
      await elsi.sync();
      await elsi.shows(uid, 'COMPLETED');
      assert.ok(performance.now() - started >= 3000, 'Retry-After is honoured');
      assert.ok(elsi.standIn.requests.login <= 8, `${elsi.standIn.requests.login} logins`);
      await elsi.world.sound(expectations([uid]));
    }),
  );

  const lists = {
    'two-gigabytes': { kind: 'bytes', bytes: 2 ** 31 },
    'not-an-array': { kind: 'token', expiresIn: 1 },
    'many-items': { kind: 'many', count: 100_000 },
  } as const;
  for (const [name, fault] of Object.entries(lists))
    row(
      `J3/${name}`,
      'a list that is too long or no list is read within bounds, and the next one counts',
      () =>
        inElsiWorld(async (elsi) => {
          const uid = elsi.submit();
          elsi.standIn.inject({ on: 'list', do: fault });
          const sync = await elsi.sync({ config: { leaderElection: { enabled: false } } });
          await elsi.shows(uid, 'COMPLETED');
          const { peak: bytes } = await memoryOf(sync);
          assert.ok(bytes < 600 * 2 ** 20, `${Math.round(bytes / 2 ** 20)} MiB`);
          await elsi.world.sound(expectations([uid]));
        }),
    );

  row(
    'J3/bad-items',
    'duplicates, strangers and nonsense in a list affect nobody else',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        const good = elsi.standIn.tasks.get(uid);
        const items = [
          null,
          7,
          'x',
          [],
          {},
          { task_uid: '../x' },
          { ...good, status_label: 'archived', task_uid: randomUUID() },
          good,
          good,
        ];
        elsi.standIn.inject({ on: 'list', times: 3, do: { kind: 'items', items } });
        await elsi.sync();
        await complete(elsi, uid);
        assert.equal(runs(elsi, uid), 1);
      }),
    { smoke: true },
  );

  row(
    'J4',
    'an unknown model and a dataset that leaves the store are told FAILED and make no task; the others run',
    () =>
      inElsiWorld(async (elsi) => {
        const bad = [elsi.submit({ model_name: 'gpt' }), elsi.submit({ dataset_uid_label: '../../etc' })];
        const uid = elsi.submit();
        await elsi.sync();
        await elsi.shows(uid, 'COMPLETED');
        for (const each of bad) {
          await elsi.shows(each, 'FAILED');
          elsi.told(each, 'FAILED');
        }
        const jobs = await elsi.world.lab.jobs();
        assert.equal(jobs.length, 1, 'only the good task has a Job');
        await elsi.world.sound(expectations([uid]));
      }),
  );

  const losses = {
    'before-it-was-done': { kind: 'reset' },
    'after-it-was-done': { kind: 'reset', after: true },
    '500': { kind: 'status', status: 500, page: true },
    hang: { kind: 'hang' },
    '409': { kind: 'status', status: 409 },
    '429': { kind: 'status', status: 429, retryAfter: 2 },
  } as const;
  for (const [name, fault] of Object.entries(losses))
    row(`J5/${name}`, 'every PUT gets lost once: ELSI shows the end in the end, told once in effect', () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.standIn.inject({ on: 'put', times: 2, do: fault });
        await elsi.sync();
        await complete(elsi, uid);
      }),
    );

  row(
    'J6',
    'PENDING again after COMPLETED is told again and runs nothing, with the AnalysisTask and without',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        await elsi.sync();
        await elsi.shows(uid, 'COMPLETED');
        await acknowledged(elsi, uid);
        elsi.standIn.set(uid, { status_label: 'pending' });
        await elsi.shows(uid, 'COMPLETED');
        await elsi.world.lab.deleteTask(runName(uid, 1));
        elsi.standIn.set(uid, { status_label: 'pending' });
        await elsi.shows(uid, 'COMPLETED');
        assert.equal(runs(elsi, uid), 1, 'the model ran once');
      }),
  );

  row(
    'J6/retry',
    'PENDING again after FAILED is a retry by a researcher: a second run, with its own end',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.world.node.script(runName(uid, 1), () => ({ model: 'fails' }));
        await elsi.sync();
        await elsi.shows(uid, 'FAILED');
        await acknowledged(elsi, uid);
        elsi.told(uid, 'FAILED');
        elsi.standIn.set(uid, { status_label: 'pending' });
        await elsi.shows(uid, 'COMPLETED');
        await acknowledged(elsi, uid, 2);
        const first = await elsi.world.lab.get(runName(uid, 1));
        assert.equal(first.status?.phase, 'Failed', 'the first run keeps its end');
      }),
    { smoke: true },
  );

  row('J7', 'a task that vanishes from the list runs on, and its end is looked up', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      elsi.world.node.script(runName(uid, 1), () => ({ runMs: 5000 }));
      await elsi.sync();
      await elsi.reaches(uid, 'Running');
      elsi.standIn.remove(uid);
      await acknowledged(elsi, uid);
      await elsi.world.sound(expectations([uid]));
    }),
  );

  row('J8', 'an empty list cancels nothing, even where tasks that vanish are to be cancelled', () =>
    inElsiWorld(async (elsi) => {
      const uids = [elsi.submit(), elsi.submit(), elsi.submit()];
      for (const uid of uids) elsi.world.node.script(runName(uid, 1), () => ({ runMs: 4000 }));
      await elsi.sync({ config: { policies: { dropped: 'Cancel' } } });
      await Promise.all(uids.map((uid) => elsi.reaches(uid, 'Running')));
      elsi.standIn.inject({ on: 'list', times: 2, do: { kind: 'items', items: [] } });
      await complete(elsi, ...uids);
    }),
  );

  row('J8/dropped', 'a task that stays away is cancelled where the policy says so', () =>
    inElsiWorld(async (elsi) => {
      const [uid, other] = [elsi.submit(), elsi.submit()];
      for (const each of [uid, other]) elsi.world.node.script(runName(each, 1), () => ({ model: 'hangs' }));
      await elsi.sync({ config: { policies: { dropped: 'Cancel' } } });
      await elsi.reaches(uid, 'Running');
      elsi.standIn.remove(uid);
      await elsi.reaches(uid, 'Cancelled');
      await elsi.reaches(other, 'Running');
    }),
  );

  row('J9', 'lists slower than the interval never overlap', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      elsi.standIn.inject({ on: 'list', times: 3, do: { kind: 'delay', ms: 2500 } });
      await elsi.sync();
      await complete(elsi, uid);
      assert.equal(elsi.standIn.mostListsAtOnce(), 1);
      assert.equal(runs(elsi, uid), 1);
    }),
  );

  row('J10', 'two processes that both believe to lead make one run and tell one end', () =>
    inElsiWorld(async (elsi) => {
      const uids = Array.from({ length: 4 }, () => elsi.submit());
      await Promise.all([elsi.sync({ forced: true }), elsi.sync({ forced: true })]);
      await complete(elsi, ...uids);
      for (const uid of uids) assert.equal(runs(elsi, uid), 1);
    }),
  );

  row('J11', 'a RUNNING that was delayed does not overtake the end', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      elsi.standIn.inject({ on: 'put', do: { kind: 'delay', ms: 1500 } });
      await Promise.all([elsi.sync({ forced: true }), elsi.sync({ forced: true })]);
      await elsi.shows(uid, 'COMPLETED');
      await acknowledged(elsi, uid);
      await polls(elsi, 2);
      assert.equal(elsi.standIn.tasks.get(uid)?.status_label, 'COMPLETED');
      await elsi.world.sound(expectations([uid]));
    }),
  );

  row(
    'A5',
    'elsi-sync is killed after its PUT was carried out, before it acknowledged: the end is told, none is taken back',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        const sync = await elsi.sync();
        await eventually('a PUT', () => (elsi.standIn.audit.length > 0 ? true : undefined), RECOVERY_MS);
        await sync.stop('SIGKILL');
        await elsi.reaches(uid, 'Succeeded');
        const second = await elsi.sync();
        await elsi.shows(uid, 'COMPLETED');
        await second.stop('SIGKILL');
        await elsi.sync();
        await acknowledged(elsi, uid);
        elsi.told(uid, 'COMPLETED');
        await elsi.world.sound(expectations([uid]));
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
        await elsi.reaches(uid, 'Running');
        await elsi.shows(uid, 'RUNNING');
        await sync.stop('SIGKILL');
        const path = `/apis/${API_VERSION}/namespaces/${elsi.world.lab.namespace}/analysistasks/${runName(uid, 1)}`;
        expectOk(await controlPlane().api.call('DELETE', path));
        await elsi.reaches(uid, 'Cancelled');
        await elsi.sync();
        await elsi.shows(uid, 'FAILED');
        elsi.told(uid, 'FAILED');
        await elsi.world.sound({ [runName(uid, 1)]: 'gone' });
      }),
    { smoke: true },
  );
});
