import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { analysisModel } from '../../api/objects.ts';
import { MODELS } from '../../api/resources.ts';
import { type ModelEntry, parseModel } from '../../api/seen.ts';
import { createInformer } from '../../controller/informer.ts';
import { silentLog } from '../../controller/log.ts';
import { createMetrics } from '../../controller/metrics.ts';
import { FakeApi, type Fault } from '../../controller/testing/fake-api.ts';
import { until } from '../../controller/testing/until.ts';
import { createTransport, type Transport } from '../../controller/transport.ts';
import { aModel } from '../../jobs/testing/fixtures.ts';
import { createRateBook, type Measured, type RateBook } from '../rates/rate-book.ts';
import { createModelController } from './index.ts';

describe('the model controller', () => {
  let api: FakeApi;
  let transport: Transport;
  let stop: AbortController;
  let running: Promise<unknown>;
  let rates: RateBook;
  let uid: string;

  beforeEach(async () => {
    api = await FakeApi.start();
    const created = api.store.create('analysismodels', undefined, aModel());
    uid = created.metadata.uid;
    transport = createTransport(api.connection());
    rates = createRateBook();
    stop = new AbortController();
    const log = silentLog;
    const models = createInformer<ModelEntry>({ transport, type: MODELS, transform: parseModel, log });
    const hardware = { peek: () => 'A100', of: () => Promise.resolve('A100') };
    const policy = { allowTags: false };
    const metrics = createMetrics();
    const run = createModelController({ models, policy, rates, hardware, log, metrics });
    const leading = { transport, isFresh: () => true, lost: new AbortController().signal };
    const watching = models.run(stop.signal);
    await models.synced;
    running = Promise.all([watching, run(leading, stop.signal)]);
    await until(() => writes() === 1);
  });
  afterEach(async () => {
    stop.abort();
    await running;
    await transport.close();
    await api.stop();
  });

  const writes = () => api.requests.filter(({ method }) => method === 'PUT').length;
  const learnt = () => {
    return analysisModel.parse(api.store.get('analysismodels', 'vad-1-0')).status?.rates ?? [];
  };
  const run = (seconds = 100): Measured => ({
    model: { name: 'vad-1-0', uid },
    node: 'gpu-1',
    effort: 'AudioSeconds',
    amount: 100,
    seconds,
  });
  const fail = (fault: Fault) => api.fail(fault, ({ method }) => method === 'PUT');

  it('writes what an attempt took at once, and what follows together, a minute later', async () => {
    rates.note(run());
    await until(() => learnt().length === 1);
    for (let count = 0; count < 20; count++) rates.note(run());
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(learnt()[0]?.samples, 1);
    assert.equal(rates.waits('vad-1-0'), true, 'they are kept until then');
    assert.equal(writes(), 2);
  });

  it('learns nothing from a model that had the same name', async () => {
    rates.note({ ...run(), model: { name: 'vad-1-0', uid: 'another' } });
    await until(() => !rates.waits('vad-1-0'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual([learnt(), writes()], [[], 1]);
  });

  it('counts an attempt once when its write was refused', async () => {
    fail({ kind: 'reply', code: 409, reason: 'Conflict' });
    rates.note(run());
    await until(() => learnt().length === 1);
    assert.equal(learnt()[0]?.samples, 1);
  });

  it('rather loses an attempt than counts it twice: a write without an answer may have been done', async () => {
    fail({ kind: 'drop-response' });
    rates.note(run());
    await until(() => learnt().length === 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(learnt()[0]?.samples, 1);
    assert.equal(rates.waits('vad-1-0'), false);
  });

  it('forgets what was measured of a model that is gone', async () => {
    rates.note({ ...run(), model: { name: 'gone', uid } });
    await until(() => !rates.waits('gone'));
  });
});
