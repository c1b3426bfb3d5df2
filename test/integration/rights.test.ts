import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'mocha';
import { z } from 'zod';
import { apiClient } from '../support/api.ts';
import type { PodView } from '../../src/jobs/views.ts';
import { openSink, type Sink } from '../faults/rig/sink.ts';
import { controlPlane, expectOk, wantControlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { modelEnds, modelRuns, published, publishEnds } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { asInstalled, grantsOf, type Installed } from '../support/rights.ts';
import { type Right, rightTo } from '../support/verbs.ts';

// Who asked for what, of all requests.
wantControlPlane({ audit: 'requests', apiserverFlags: { 'audit-log-mode': 'blocking' } });

/** The API server asks for it when a Job is created whose owner cannot go before it; the operator never calls it. */
const NEVER_CALLED = ['update analysis.elsi.dev/analysistasks/finalizers'];

describe('the operator with no right but those of the chart', () => {
  let lab: Lab;
  let operator: Operator | undefined;
  let installed: Installed;
  let sink: Sink;
  let model: string;

  before(async () => {
    lab = await openLab('rights');
    [installed, sink] = await Promise.all([asInstalled(lab.namespace), openSink()]);
    model = await lab.model('vad', { failure: { maxAttempts: 2, backoffSeconds: 0 } });
    await start();
  });
  after(async () => {
    await stop();
    await lab.deleteModel(model);
    await sink.down();
  });

  const log: string[] = [];
  const start = async (): Promise<void> => {
    const { kubeconfig } = installed;
    operator = await startOperator({ kubeconfig, namespace: lab.namespace, config: sink.config() });
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

  it('retries an ended task, which it reads anew', async () => {
    expectOk(await lab.task('retry', { model, retryOf: 'done', outputName: 'retry' }));
    await lab.setPod(await eventually('its pod', () => lab.pod('retry')), publishEnds(0, published));
    await ends('retry', 'Succeeded');
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

  it('holds a task until its callbacks are delivered', async () => {
    expectOk(await lab.task('told', { model, callbacks: ['lab'], desired: 'Cancel' }));
    await lab.until('told', 'settled', ({ settled }) => settled === true);
    assert.equal(sink.deliveries.length, 1);
  });

  it('removes a pod that lost its Job, and starts another attempt', async () => {
    expectOk(await lab.task('orphaned', { model }));
    const pod = await lab.pod('orphaned');
    await lab.setPod(pod, modelRuns());
    await ends('orphaned', 'Running');
    const jobs = `/apis/batch/v1/namespaces/${lab.namespace}/jobs`;
    await controlPlane().api.call('DELETE', `${jobs}/${pod.jobName}?propagationPolicy=Orphan`);
    await lab.until('orphaned', 'attempt 2', ({ attempt }) => attempt?.number === 2);
    await lab.setPod(await lab.pod('orphaned'), publishEnds(0, published));
    await ends('orphaned', 'Succeeded');
  });

  it('says why there is no pod, in the words of the Job controller', async () => {
    const quota = { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'none' } };
    const body = { ...quota, spec: { hard: { 'requests.nvidia.com/gpu': '0' } } };
    expectOk(await controlPlane().api.call('POST', lab.path('resourcequotas'), { body }));
    const gpu = { resourceName: 'nvidia.com/gpu', count: 1 };
    const large = await lab.model('large', { gpu });
    expectOk(await lab.task('podless', { model: large }));
    await lab.until('podless', 'QuotaExceeded', ({ reason }) => reason === 'QuotaExceeded');
    expectOk(await controlPlane().api.call('DELETE', `${lab.path('resourcequotas')}/none`));
    const pod = await eventually('its pod', () => lab.pod('podless'), 60_000);
    await bind(lab, pod);
    await lab.setPod(await lab.pod('podless'), publishEnds(0, published));
    await ends('podless', 'Succeeded');
    await lab.deleteModel(large);
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

  it('was never refused, and uses every right that it has', async () => {
    await stop();
    assert.ok(log.length > 5, 'there is a log to look at');
    assert.deepEqual(
      log.filter((line) => /forbidden/i.test(line)),
      [],
    );
    const used = await rightsUsedBy(`system:serviceaccount:${lab.namespace}:${installed.release}`);
    const granted = grantsOf(installed.objects, installed.release);
    assert.deepEqual(
      [...granted].filter((right) => !used.has(right)),
      NEVER_CALLED,
      'what is granted and never used should not be granted',
    );
    assert.deepEqual(
      [...used].filter((right) => !granted.has(right)),
      [],
    );
  });

  it('may not read secrets, write models, or look into other namespaces', async () => {
    const client = await apiClient(installed.kubeconfig);
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

/** The node does not exist: that the operator may ask for it is enough. */
async function bind(lab: Lab, { metadata: { name } }: PodView): Promise<void> {
  const body = {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name },
    target: { apiVersion: 'v1', kind: 'Node', name: `node-of-${lab.namespace}` },
  };
  expectOk(await controlPlane().api.call('POST', `${lab.path('pods')}/${name}/binding`, { body }));
}

const auditEvent = z.looseObject({
  verb: z.string(),
  user: z.looseObject({ username: z.string() }),
  objectRef: z
    .looseObject({
      apiGroup: z.string().default(''),
      resource: z.string(),
      subresource: z.string().optional(),
    })
    .optional(),
});

/** What somebody asked the API server for, by its own log. */
async function rightsUsedBy(user: string): Promise<ReadonlySet<Right>> {
  const { pieces } = controlPlane();
  assert.ok(pieces, 'this test needs a control plane of its own, for its audit log');
  const lines = (await readFile(pieces.auditLog, 'utf8')).split('\n').filter((line) => line.includes(user));
  const events = lines.map((line) => auditEvent.parse(JSON.parse(line)));
  return new Set(
    events
      .filter(({ user: { username } }) => username === user)
      .flatMap(({ verb, objectRef }) => {
        if (!objectRef) return [];
        const { apiGroup, resource, subresource } = objectRef;
        return [rightTo(verb, apiGroup, subresource === undefined ? resource : `${resource}/${subresource}`)];
      }),
  );
}
