import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { WorkReport } from '../../api/request.ts';
import { CORE_EVENTS, JOBS, PODS, TASKS } from '../../api/resources.ts';
import { parseTask } from '../../api/seen.ts';
import { isConflict } from '../../controller/api-error.ts';
import { resourceClient } from '../../controller/client.ts';
import { systemClock } from '../../controller/clock.ts';
import { FakeApi } from '../../controller/testing/fake-api.ts';
import { createTransport, type Transport } from '../../controller/transport.ts';
import { aJob, aModel, aPod, aTask, claimed, NOW, reporting } from '../../jobs/testing/fixtures.ts';
import type { Measured } from '../rates/rate-book.ts';
import { createProgressBook } from './progress/book.ts';
import { taskReconciler } from './reconcile.ts';
import { seen } from './testing/seen.ts';
import { createWrittenVersions } from '../../controller/written.ts';

const WORK: WorkReport = { effort: 'Bytes', done: 1000, failed: 0 };
const ran = { startedAt: '2026-03-01T11:50:00Z', finishedAt: '2026-03-01T11:55:00Z' };
const POD = aPod(
  { model: { terminated: { exitCode: 0, ...ran } }, publish: reporting(0, { work: WORK }) },
  { phase: 'Succeeded' },
);

describe('what an attempt took', () => {
  let api: FakeApi;
  let transport: Transport;
  let noted: Measured[];
  let uid: string;
  beforeEach(async () => {
    api = await FakeApi.start();
    transport = createTransport(api.connection());
    noted = [];
    const task = aTask({}, claimed({ phase: 'Running', reason: 'Running' }));
    ({ uid } = api.store.create('analysistasks', 'lab', task).metadata);
  });
  afterEach(async () => {
    await transport.close();
    await api.stop();
  });

  const pass = () => {
    const { defaults, identity, policy } = seen();
    const raw = api.store.get('analysistasks', 'lab/night-1');
    const reconcile = taskReconciler({
      caches: {
        task: () => parseTask(raw),
        model: () => ({ ok: true, model: aModel() }),
        jobsOf: () => [aJob('Complete', { ownerUid: uid })],
        podsOf: () => [POD],
        jobsOfName: () => [],
        claim: () => undefined,
      },
      clients: {
        tasks: resourceClient(transport, TASKS),
        jobs: resourceClient(transport, JOBS),
        pods: resourceClient(transport, PODS),
        events: resourceClient(transport, CORE_EVENTS),
      },
      progress: createProgressBook(systemClock),
      hardware: { peek: () => 'None' },
      store: undefined,
      callbacks: new Map(),
      now: () => NOW,
      mayStart: () => true,
      settings: { identity, defaults, policy },
      events: { record: () => undefined, stop: () => Promise.resolve() },
      written: createWrittenVersions(),
      rates: { note: (measured) => noted.push(measured) },
    });
    return reconcile('lab/night-1', new AbortController().signal);
  };

  it('is noted once, by whoever wrote its end', async () => {
    await pass();
    assert.deepEqual(
      noted.map(({ amount, seconds }) => [amount, seconds]),
      [[1000, 300]],
    );
    await pass();
    assert.equal(noted.length, 1, 'the end is known already');
  });

  it('is not noted by a pass whose write was refused: the next one does it', async () => {
    api.fail({ kind: 'reply', code: 409, reason: 'Conflict' }, ({ method }) => method === 'PUT');
    await assert.rejects(pass(), isConflict);
    assert.deepEqual(noted, []);
    await pass();
    assert.equal(noted.length, 1);
  });

  it('is lost rather than noted twice when nobody knows whether the end was written', async () => {
    api.fail({ kind: 'drop-response' }, ({ method }) => method === 'PUT');
    await assert.rejects(pass());
    await pass();
    assert.deepEqual(noted, []);
  });
});
