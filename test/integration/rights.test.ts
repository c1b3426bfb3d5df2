import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { z } from 'zod';
import { apiClient } from '../support/api.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { modelEnds, modelRuns, published, publishEnds } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { asInstalled } from '../support/rights.ts';

describe('the operator with no right but those of the chart', () => {
  let lab: Lab;
  let operator: Operator | undefined;
  let kubeconfig: string;
  let model: string;

  before(async () => {
    lab = await openLab('rights');
    ({ kubeconfig } = await asInstalled(lab.namespace));
    model = await lab.model('vad', { failure: { maxAttempts: 2, backoffSeconds: 0 } });
    await start();
  });
  after(async () => {
    await stop();
    await lab.deleteModel(model);
  });

  const log: string[] = [];
  const start = async (): Promise<void> => {
    operator = await startOperator({ kubeconfig, namespace: lab.namespace });
  };
  const stop = async (): Promise<void> => {
    await operator?.stop();
    log.push(...(operator?.log() ?? []));
  };
  const ends = (name: string, phase: string) => lab.until(name, phase, (status) => status.phase === phase);

  it('takes a task from its claim to its result', async () => {
    expectOk(await lab.task('done', { model }));
    const pod = await lab.pod('done');
    await lab.setPod(pod, modelRuns());
    await ends('done', 'Running');
    await lab.setPod(pod, publishEnds(0, published));
    await ends('done', 'Succeeded');
  });

  it('tries again after a failure, with another Job', async () => {
    expectOk(await lab.task('again', { model }));
    await lab.setPod(await lab.pod('again'), modelEnds(1));
    await lab.until('again', 'attempt 2', ({ attempt }) => attempt?.number === 2);
    await lab.setPod(await lab.pod('again'), publishEnds(0, published));
    await ends('again', 'Succeeded');
  });

  it('cancels a task, removing its Job', async () => {
    expectOk(await lab.task('cancelled', { model }));
    await lab.pod('cancelled');
    expectOk(await lab.patchTask('cancelled', { spec: { desired: 'Cancel' } }));
    await ends('cancelled', 'Cancelled');
  });

  it('deletes a task when its time is over; a new leader looks at once', async () => {
    expectOk(await lab.task('expired', { model, ttlSecondsAfterSettled: 0, desired: 'Cancel' }));
    await lab.until('expired', 'settled', ({ settled }) => settled === true);
    await stop();
    await start();
    await eventually('the task is gone', async () => {
      const path = `/apis/analysis.elsi.dev/v1alpha1/namespaces/${lab.namespace}/analysistasks/expired`;
      return (await controlPlane().api.call('GET', path)).status === 404 ? true : undefined;
    });
  });

  it('says what it did in events, and whether the model is ready', async () => {
    const { api } = controlPlane();
    const events = z.looseObject({ items: z.array(z.looseObject({ reason: z.string().optional() })) });
    await eventually('an event Started', async () => {
      const path = `/apis/events.k8s.io/v1/namespaces/${lab.namespace}/events`;
      const { items } = events.parse(expectOk(await api.call('GET', path)));
      return items.some(({ reason }) => reason === 'Started') ? true : undefined;
    });
    const object = z.looseObject({
      status: z.looseObject({ conditions: z.array(z.looseObject({ type: z.string() })) }),
    });
    const found = object.parse(
      expectOk(await api.call('GET', `/apis/analysis.elsi.dev/v1alpha1/analysismodels/${model}`)),
    );
    assert.deepEqual(
      found.status.conditions.map(({ type }) => type),
      ['Ready'],
    );
  });

  it('was never refused', async () => {
    await stop();
    assert.ok(log.length > 5, 'there is a log to look at');
    assert.deepEqual(
      log.filter((line) => /forbidden/i.test(line)),
      [],
    );
  });

  it('may not read secrets, write models, or look into other namespaces', async () => {
    const client = await apiClient(kubeconfig);
    const models = '/apis/analysis.elsi.dev/v1alpha1/analysismodels';
    try {
      assert.equal((await client.call('GET', models)).status, 200);
      const refused = await Promise.all([
        client.call('GET', `/api/v1/namespaces/${lab.namespace}/secrets`),
        client.call('DELETE', `${models}/${model}`),
        client.call('GET', '/api/v1/namespaces/default/pods'),
        client.call('GET', '/apis/analysis.elsi.dev/v1alpha1/analysistasks'),
        client.call('POST', `/api/v1/namespaces/${lab.namespace}/pods`, { body: {} }),
      ]);
      assert.deepEqual(
        refused.map(({ status }) => status),
        [403, 403, 403, 403, 403],
      );
    } finally {
      await client.close();
    }
  });
});
