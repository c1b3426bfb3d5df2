import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { API_VERSION, OBSERVE_PORT } from '../../src/api/keys.ts';
import type { LearntRate } from '../../src/api/model.ts';
import { type AnalysisModel, analysisModel } from '../../src/api/objects.ts';
import type { ProgressReport } from '../../src/api/request.ts';
import type { PodView } from '../../src/jobs/views.ts';
import { controlPlane, deleteAtEnd, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { modelRuns, published, publishEnds } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { asInstalled } from '../support/rights.ts';

/** Where the played observe answers; an address that no other test listens on. */
const ADDRESS = '127.77.1.1';
const AUDIO_SECONDS = 1000;
const STARTED = Date.parse('2026-03-01T12:00:00Z');

describe('the speed of a model, with no right but those of the chart', () => {
  let lab: Lab;
  let operator: Operator;
  let kubeconfig: string;
  let model: string;
  let server: Server;
  /** What the pod that runs tells. */
  let told: ProgressReport | undefined;

  before(async () => {
    lab = await openLab('rates');
    ({ kubeconfig } = await asInstalled(lab.namespace));
    model = await lab.model('vad', { inputs: { effort: 'AudioSeconds' }, rate: 5 });
    server = createServer((_request, response) => response.end(JSON.stringify(told)));
    await new Promise<void>((resolve) => server.listen(OBSERVE_PORT, ADDRESS, resolve));
    await start();
  });
  after(async () => {
    await operator.stop();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const start = async (): Promise<void> => {
    const config = { progress: { enabled: true, intervalSeconds: 1 } };
    operator = await startOperator({ kubeconfig, namespace: lab.namespace, config });
  };
  const path = (name: string) => `/apis/${API_VERSION}/analysismodels/${name}`;
  const read = async (name = model): Promise<AnalysisModel> =>
    analysisModel.parse(expectOk(await controlPlane().api.call('GET', path(name))));
  const ratesOf = async (name = model): Promise<readonly LearntRate[]> =>
    (await read(name)).status?.rates ?? [];
  const learns = (what: string, wanted: (rates: readonly LearntRate[]) => boolean, name = model) =>
    eventually(`${name} ${what}`, async () => {
      const rates = await ratesOf(name);
      return wanted(rates) ? rates : undefined;
    });

  const begin = async (name: string, of = model): Promise<PodView> => {
    expectOk(await lab.task(name, { model: of }));
    return lab.pod(name);
  };
  /** The pod's model worked for so many seconds, and its outputs are published. */
  const end = async (name: string, pod: PodView, seconds: number): Promise<void> => {
    const work = { effort: 'AudioSeconds' as const, done: AUDIO_SECONDS, failed: 0 };
    const ran = {
      startedAt: new Date(STARTED).toISOString(),
      finishedAt: new Date(STARTED + seconds * 1000).toISOString(),
    };
    await lab.setPod(pod, publishEnds(0, { ...published, work }, ran));
    await lab.until(name, 'Succeeded', ({ phase }) => phase === 'Succeeded');
  };
  /** A task whose pod has just started its model on an hour of audio. */
  const running = async (name: string): Promise<{ pod: PodView; startedMs: number }> => {
    const pod = await begin(name);
    const { uid } = (await lab.get(name)).metadata;
    const counts = { unitsDone: 0, unitsTotal: 10, unitsFailed: 0, percent: 0 };
    const work = { effort: 'AudioSeconds' as const, done: 0, left: 3600, sinceSeconds: 0 };
    told = { taskUID: uid, podUID: pod.metadata.uid, ...counts, work };
    const startedMs = Math.floor(Date.now() / 1000) * 1000;
    const address = { podIP: ADDRESS, podIPs: [{ ip: ADDRESS }] };
    await lab.setPod(pod, modelRuns(address, new Date(startedMs).toISOString()));
    return { pod, startedMs };
  };
  /** Seconds from the start of the model to the shown end of the attempt, at p50 and p90. */
  const estimated = async (name: string, startedMs: number): Promise<readonly number[]> => {
    const { progress } = await lab.until(
      name,
      'has an estimate',
      ({ progress: seen }) => seen?.estimatedCompletion !== undefined,
    );
    const { estimatedCompletion: p50 = '', estimatedCompletionP90: p90 = '' } = progress ?? {};
    return [p50, p90].map((at) => (Date.parse(at) - startedMs) / 1000);
  };
  const isAbout = (value: number | undefined, wanted: number): void =>
    assert.ok(value !== undefined && Math.abs(value - wanted) <= 10, `${value} s, not about ${wanted} s`);

  it('is a guess of the catalogue before any task has ended', async () => {
    const { pod, startedMs } = await running('guessed');
    const [p50, p90] = await estimated('guessed', startedMs);
    isAbout(p50, 5 * 3600);
    isAbout(p90, 7.5 * 3600);
    await end('guessed', pod, 100);
  });

  it('is learnt from the first task that ends', async () => {
    const [rate] = await learns('learnt', (rates) => rates.length > 0);
    const { updatedAt: _, ...rest } = rate ?? {};
    assert.deepEqual(rest, {
      gpu: 'None',
      effort: 'AudioSeconds',
      p50: 0.1,
      p90: 0.15,
      samples: 1,
      summary: '1 h of audio in 6.0 min',
    });
  });

  it('is written seldom, however many tasks end, and then at once for all of them', async () => {
    const version = (await read()).metadata.resourceVersion;
    const names = ['one', 'two', 'three'];
    for (const name of names) await end(name, await begin(name), 100);
    await pause(1500);
    const { metadata, status } = await read();
    assert.equal(metadata.resourceVersion, version, 'not written within the minute');
    // As it is a minute later.
    const updatedAt = new Date(Date.now() - 120_000).toISOString();
    const rates = (status?.rates ?? []).map((rate) => ({ ...rate, updatedAt }));
    const patch = { body: { status: { rates } }, contentType: 'application/merge-patch+json' };
    expectOk(await controlPlane().api.call('PATCH', `${path(model)}/status`, patch));
    const [rate] = await learns('counts four tasks', ([first]) => first?.samples === 4);
    assert.equal(rate?.p50, 0.1);
    const { resourceVersion } = (await read()).metadata;
    await pause(1500);
    assert.equal((await read()).metadata.resourceVersion, resourceVersion, 'radio silence');
  });

  it('survives a restart of the operator, and estimates the next task', async () => {
    const learnt = await ratesOf();
    await operator.stop('SIGKILL');
    await start();
    const { pod, startedMs } = await running('next');
    const [p50, p90] = await estimated('next', startedMs);
    isAbout(p50, 360);
    assert.ok(p90 !== undefined && p50 !== undefined && p90 > p50 && p90 < 600, `p90 ${p90} s`);
    assert.deepEqual(await ratesOf(), learnt);
    await end('next', pod, 100);
    const { progress } = (await lab.get('next')).status ?? {};
    assert.deepEqual([progress?.percent, progress?.estimatedCompletion], [100, undefined]);
  });

  it('is known per GPU product, which the node tells', async () => {
    const onGpu = await lab.model('gpu', { inputs: { effort: 'AudioSeconds' }, gpu: { count: 1 } });
    const name = `gpu-${lab.namespace}`;
    const labels = { 'nvidia.com/gpu.product': 'NVIDIA-A100-SXM4-40GB' };
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } };
    expectOk(await controlPlane().api.call('POST', '/api/v1/nodes', { body: node }));
    deleteAtEnd(`/api/v1/nodes/${name}`);
    const pod = await begin('on-gpu', onGpu);
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.metadata.name },
      target: { apiVersion: 'v1', kind: 'Node', name },
    };
    expectOk(
      await controlPlane().api.call('POST', lab.path(`pods/${pod.metadata.name}/binding`), { body: binding }),
    );
    await end('on-gpu', pod, 50);
    const rates = await learns('learnt', (list) => list.length > 0, onGpu);
    assert.deepEqual(
      rates.map(({ gpu, p50 }) => [gpu, p50]),
      [['NVIDIA-A100-SXM4-40GB', 0.05]],
    );
    assert.deepEqual(
      operator.log().filter((line) => /forbidden/i.test(line)),
      [],
    );
  });
});
