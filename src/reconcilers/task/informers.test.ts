import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { MODELS } from '../../api/resources.ts';
import { type ModelEntry, parseModel } from '../../api/seen.ts';
import { createInformer } from '../../controller/informer.ts';
import { FakeApi } from '../../controller/testing/fake-api.ts';
import { until } from '../../controller/testing/until.ts';
import { createTransport, type Transport } from '../../controller/transport.ts';
import { aModel, aTask } from '../../jobs/testing/fixtures.ts';
import { connect, createTaskInformers } from './informers.ts';

describe('a change of a model', () => {
  let api: FakeApi;
  let transport: Transport;
  let stop: AbortController;
  let watching: Promise<unknown>;
  let woken: string[];

  beforeEach(async () => {
    api = await FakeApi.start();
    transport = createTransport(api.connection());
    stop = new AbortController();
    woken = [];
    api.store.create('analysismodels', undefined, aModel());
    api.store.create('analysistasks', 'lab', aTask());
    const models = createInformer<ModelEntry>({ transport, type: MODELS, transform: parseModel });
    const informers = createTaskInformers({ transport }, ['lab'], 'datasets');
    connect(informers, models, (key) => woken.push(key));
    const all = [models, ...informers.tasks];
    watching = Promise.all(all.map((informer) => informer.run(stop.signal)));
    await Promise.all(all.map(({ synced }) => synced));
    woken = [];
  });
  afterEach(async () => {
    stop.abort();
    await watching;
    await transport.close();
    await api.stop();
  });

  const change = (part: object) =>
    api.store.update('analysismodels', 'vad-1-0', {}, (model) => ({ ...model, ...part }));

  it('brings its tasks back when it becomes another one', async () => {
    change({ spec: aModel({ rate: 7 }).spec });
    await until(() => woken.length > 0);
    assert.deepEqual(woken, ['lab/night-1']);
    api.store.remove('analysismodels', 'vad-1-0', {});
    await until(() => woken.length > 1);
  });

  it('brings no task back when only its speed was learnt', async () => {
    change({ status: { rates: [] } });
    change({ status: { conditions: [] } });
    change({ spec: aModel({ rate: 7 }).spec });
    await until(() => woken.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(woken, ['lab/night-1'], 'once, for the last of three changes');
  });
});
