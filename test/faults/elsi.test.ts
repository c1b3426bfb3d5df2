import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe } from 'mocha';
import { z } from 'zod';
import { API_VERSION, FINALIZER } from '../../src/api/keys.ts';
import { runName } from '../../src/elsi/run.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type ElsiWorld, inElsiWorld } from './rig/elsi.ts';
import { memoryOf, metricOf } from './rig/measure.ts';
import { row } from './rig/row.ts';
import { RECOVERY_MS } from './rig/world.ts';

const expectations = (uids: readonly string[]) =>
  Object.fromEntries(uids.map((uid) => [runName(uid, 1), 'Succeeded' as const]));

const names = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) });

/** Names of all AnalysisTasks. */
async function runsThere({ world }: ElsiWorld): Promise<string[]> {
  const path = `/apis/${API_VERSION}/namespaces/${world.lab.namespace}/analysistasks`;
  const { items } = names.parse(expectOk(await controlPlane().api.call('GET', path)));
  return items.map(({ metadata }) => metadata.name);
}

describe('J tasks of ELSI', () => {
  row(
    'J/happy',
    'a task is run once and told RUNNING and COMPLETED, with an estimate',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        await elsi.sync();
        await elsi.complete(uid);
        assert.ok(Number(elsi.standIn.tasks.get(uid)?.estimated_duration) >= 1);
      }),
    { smoke: true },
  );

  row(
    'J1',
    'tokens that expire early or carry a nonsensical lifetime are renewed, with one login for each',
    () =>
      inElsiWorld(async (elsi) => {
        const uids = ['soon', 0, -5, 1e12, undefined].map((expiresIn) => {
          elsi.standIn.inject({ on: 'login', do: { kind: 'token', expiresIn } });
          return elsi.submit();
        });
        await elsi.sync();
        for (const uid of uids) {
          elsi.standIn.expireTokens();
          await elsi.polls(2);
          await elsi.shows(uid, 'COMPLETED');
          elsi.told(uid, 'COMPLETED');
        }
        const before = elsi.standIn.requests.login;
        elsi.standIn.expireTokens();
        await elsi.polls(3);
        assert.equal(elsi.standIn.requests.login, before + 1, 'one 401, one login');
        await elsi.world.sound(expectations(uids));
      }),
  );

  row('J1/refused', 'a token that stays refused costs one login for each list, and no more', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      elsi.standIn.inject({ on: 'list', times: 4, do: { kind: 'status', status: 401 } });
      await elsi.sync();
      await elsi.complete(uid);
      // One to begin with, and one after the first refusal of either round.
      assert.equal(elsi.standIn.requests.login, 3);
    }),
  );

  row('J1/renewal', 'a token is renewed before its end: ELSI never has to refuse one', () =>
    inElsiWorld(
      async (elsi) => {
        const uid = elsi.submit();
        const sync = await elsi.sync();
        await elsi.complete(uid);
        await eventually(
          'two renewals',
          () => (elsi.standIn.requests.login >= 3 ? true : undefined),
          RECOVERY_MS,
        );
        await elsi.polls(1);
        assert.equal(await metricOf(sync, 'elsi_requests_total', 'code="401"'), 0);
      },
      // Renewed after 80 %: three seconds are left for whatever holds up this machine.
      { tokenSeconds: 15 },
    ),
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

  row('J2/page', 'a login that answers with a page or breaks off is a failure like any other', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      for (const kind of ['page', 'half'] as const) elsi.standIn.inject({ on: 'login', do: { kind } });
      elsi.standIn.inject({ on: 'login', do: { kind: 'items', items: [] } });
      const sync = await elsi.sync();
      await elsi.complete(uid);
      assert.equal(elsi.standIn.requests.login, 4, 'one login for each round');
      assert.equal(await metricOf(sync, 'elsi_polls_total', 'result="error"'), 3);
    }),
  );

  const lists = {
    'two-gigabytes': { kind: 'bytes', bytes: 2 ** 31 },
    'not-an-array': { kind: 'token', expiresIn: 1 },
    truncated: { kind: 'half' },
    bomb: { kind: 'gzip', bytes: 2 ** 27 },
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
          const { peak } = await memoryOf(sync);
          assert.ok(peak < 400 * 2 ** 20, `${Math.round(peak / 2 ** 20)} MiB`);
          await elsi.complete(uid);
        }),
    );

  row(
    'J3/bad-items',
    'duplicates, strangers and nonsense in a list affect nobody else',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        const strange = elsi.submit();
        const good = elsi.standIn.tasks.get(uid);
        const items = [
          null,
          7,
          'x',
          [],
          {},
          { task_uid: '../x' },
          { ...good, status_label: 'archived', task_uid: strange },
          { ...good, model_name: { $ne: 1 }, task_uid: randomUUID() },
          JSON.parse('{"__proto__": {"task_uid": "x"}, "constructor": 1}'),
          { ...good, more: { than: ['is', 'known'] }, credits: 1e300 },
          good,
          good,
        ];
        elsi.standIn.inject({ on: 'list', times: 1000, do: { kind: 'items', items } });
        await elsi.sync();
        await elsi.polls(3);
        elsi.told(strange, 'nothing');
        assert.deepEqual(await runsThere(elsi), [runName(uid, 1)], 'one item, one AnalysisTask');
        elsi.standIn.calm();
        await elsi.complete(uid, strange);
        assert.equal(elsi.runs(uid), 1);
      }),
    { smoke: true },
  );

  row(
    'J4',
    'an unknown model and a dataset that leaves the store are told FAILED and make no task; the others run',
    () =>
      inElsiWorld(async (elsi) => {
        const labels = [
          '../../etc',
          '/etc',
          `../${randomUUID()}`,
          'a/../../b',
          '-rf',
          '.hidden',
          'a\n/b',
          '',
        ];
        const bad = [
          elsi.submit({ model_name: 'gpt' }),
          elsi.submit({ model_name: '__proto__' }),
          ...labels.map((label) => elsi.submit({ dataset_uid_label: label })),
        ];
        const uid = elsi.submit();
        await elsi.sync({ config: { datasetPath: '{label}' } });
        await elsi.shows(uid, 'COMPLETED');
        for (const each of bad) {
          await elsi.shows(each, 'FAILED');
          elsi.told(each, 'FAILED');
        }
        assert.deepEqual(await runsThere(elsi), [runName(uid, 1)], 'only the good task has an AnalysisTask');
        await elsi.complete(uid);
      }),
  );

  const losses = {
    'before-it-was-done': { kind: 'reset' },
    'after-it-was-done': { kind: 'reset', after: true },
    '500': { kind: 'status', status: 500, page: true },
    hang: { kind: 'hang' },
    '404': { kind: 'status', status: 404 },
    '409': { kind: 'status', status: 409 },
    '429': { kind: 'status', status: 429, retryAfter: 2 },
  } as const;
  for (const [name, fault] of Object.entries(losses))
    row(`J5/${name}`, 'every PUT gets lost once: ELSI shows the end in the end, told once in effect', () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.standIn.inject({ on: 'put', times: 2, do: fault });
        await elsi.sync();
        await elsi.complete(uid);
      }),
    );

  row(
    'J5/lie',
    'a PUT is answered with 200 and not carried out: the task is held until ELSI shows its end',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = elsi.submit();
        elsi.standIn.inject({ on: 'put', times: 6, do: { kind: 'items', items: [] } });
        await elsi.sync();
        await elsi.reaches(uid, 'Succeeded');
        const { length } = elsi.standIn.puts;
        await eventually(
          'its end was told and ignored',
          () => (elsi.standIn.puts.length >= length + 2 ? true : undefined),
          RECOVERY_MS,
        );
        const { finalizers } = (await elsi.world.lab.get(runName(uid, 1))).metadata;
        if (elsi.standIn.unusedFaults().length > 0) assert.deepEqual(finalizers, [FINALIZER.elsi]);
        await elsi.complete(uid);
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
        await elsi.acknowledged(uid);
        elsi.standIn.set(uid, { status_label: 'pending' });
        await elsi.shows(uid, 'COMPLETED');
        await elsi.world.lab.deleteTask(runName(uid, 1));
        elsi.standIn.set(uid, { status_label: 'pending' });
        await elsi.shows(uid, 'COMPLETED');
        assert.equal(elsi.runs(uid), 1, 'the model ran once');
        await elsi.complete(uid);
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
        await elsi.acknowledged(uid);
        elsi.told(uid, 'FAILED');
        elsi.standIn.set(uid, { status_label: 'pending' });
        await elsi.shows(uid, 'COMPLETED');
        await elsi.acknowledged(uid, 2);
        await elsi.world.sound({ [runName(uid, 2)]: 'Succeeded' });
        assert.equal(elsi.runs(uid), 3, 'two attempts of the first run, one of the second');
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
      await elsi.acknowledged(uid);
      await elsi.world.sound(expectations([uid]));
      assert.equal(elsi.runs(uid), 1);
    }),
  );

  row('J8', 'an empty list cancels nothing, even where tasks that vanish are to be cancelled', () =>
    inElsiWorld(async (elsi) => {
      const uids = [elsi.submit(), elsi.submit(), elsi.submit()];
      for (const uid of uids) elsi.world.node.script(runName(uid, 1), () => ({ runMs: 4000 }));
      await elsi.sync({ config: { policies: { dropped: 'Cancel' } } });
      await Promise.all(uids.map((uid) => elsi.reaches(uid, 'Running')));
      elsi.standIn.inject({ on: 'list', times: 2, do: { kind: 'items', items: [] } });
      await elsi.complete(...uids);
    }),
  );

  row('J9', 'lists slower than the interval never overlap', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      elsi.standIn.inject({ on: 'list', times: 3, do: { kind: 'delay', ms: 2500 } });
      await elsi.sync();
      await elsi.complete(uid);
      assert.equal(elsi.standIn.mostListsAtOnce(), 1);
      assert.equal(elsi.runs(uid), 1);
    }),
  );

  row('J10', 'two processes that both believe to lead make one run and tell one end', () =>
    inElsiWorld(async (elsi) => {
      // Not the operator's own: what goes through that one is held against the operator's rights.
      const proxy = await elsi.world.anotherProxy();
      const uids = Array.from({ length: 4 }, () => elsi.submit());
      // Both have decided to create all runs before the first one is created.
      const decided = Promise.withResolvers<void>();
      const creations = proxy.inject({
        matches: ({ method, path }) => method === 'POST' && path.endsWith('/analysistasks'),
        fault: { do: 'pass' },
        times: 2 * uids.length,
        before: async () => {
          if (creations.hits() === 2 * uids.length) decided.resolve();
          await decided.promise;
        },
      });
      await Promise.all([elsi.sync({ forced: true, proxy }), elsi.sync({ forced: true, proxy })]);
      await elsi.complete(...uids);
      assert.equal(creations.hits(), 2 * uids.length);
      for (const uid of uids) assert.equal(elsi.runs(uid), 1);
    }),
  );

  row('J11', 'a RUNNING that is delayed past the end is not sent again, and the end is told once more', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      // Longer than elsi-sync waits for an answer: it goes on, and this PUT arrives after the next one.
      elsi.standIn.inject({ on: 'put', do: { kind: 'delay', ms: 6000 } });
      await elsi.sync();
      await elsi.shows(uid, 'COMPLETED');
      await eventually(
        'the delayed PUT is carried out',
        () => (elsi.standIn.audit.some(({ before }) => before === 'COMPLETED') ? true : undefined),
        RECOVERY_MS,
      );
      await elsi.shows(uid, 'COMPLETED');
      await elsi.polls(2);
      await elsi.acknowledged(uid);
      const sent = elsi.standIn.puts.map(({ body }) => /"status":"([A-Z]+)"/.exec(body)?.[1]);
      assert.equal(sent.lastIndexOf('RUNNING') < sent.indexOf('COMPLETED'), true, sent.join());
      assert.equal(elsi.standIn.tasks.get(uid)?.status_label, 'COMPLETED');
      await elsi.world.sound(expectations([uid]));
    }),
  );

  row('J11/two', 'with two that lead, a late RUNNING of one does not stay', () =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit();
      elsi.standIn.inject({ on: 'put', do: { kind: 'delay', ms: 1500 } });
      await Promise.all([elsi.sync({ forced: true }), elsi.sync({ forced: true })]);
      await elsi.shows(uid, 'COMPLETED');
      await elsi.acknowledged(uid);
      await elsi.polls(4);
      assert.equal(elsi.standIn.tasks.get(uid)?.status_label, 'COMPLETED');
      await elsi.world.sound(expectations([uid]));
    }),
  );
});
