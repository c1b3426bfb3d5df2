import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { z } from 'zod';
import { ANNOTATION } from '../../src/api/keys.ts';
import { type AgentRequest, agentRequest } from '../../src/api/request.ts';
import type { PodView } from '../../src/jobs/views.ts';
import { failureOf } from '../support/api.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { modelEnds, modelRuns, prepareEnds, published, publishEnds } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';

const annotated = z.object({ metadata: z.object({ annotations: z.record(z.string(), z.string()) }) });
/** Far below the minute after which a waiting task is looked at anyway. */
const SOON_MS = 20_000;

describe('retryOf on a real API server', () => {
  let lab: Lab;
  let operator: Operator;
  let model: string;

  before(async () => {
    lab = await openLab('retry');
    model = await lab.model('vad', { failure: { maxAttempts: 2, backoffSeconds: 0, maxFailedUnits: 1 } });
    operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
  });
  after(() => operator.stop());

  const create = async (name: string, spec: object = {}) =>
    expectOk(await lab.task(name, { model, ...spec }));

  /** What the agent of a pod is asked to do. */
  async function asked(pod: PodView): Promise<AgentRequest> {
    const path = `${lab.path('pods')}/${pod.metadata.name}`;
    const { metadata } = annotated.parse(expectOk(await controlPlane().api.call('GET', path)));
    return agentRequest.parse(JSON.parse(metadata.annotations[ANNOTATION.request] ?? ''));
  }

  async function partial(name: string): Promise<string> {
    await create(name);
    await lab.setPod(
      await lab.pod(name),
      publishEnds(0, { ...published, units: { total: 3, done: 2, failed: 1, reused: 0 } }),
    );
    await lab.until(name, 'settled', ({ settled }) => settled === true);
    return (await lab.get(name)).metadata.uid;
  }

  it('tells the agent where the units are, also in a further attempt after the retried task was deleted', async () => {
    const uid = await partial('a');
    await create('b', { retryOf: 'a' });
    const first = await lab.pod('b');
    const facts = { uid, identity: uid, outputName: 'a', manifestSha256: 'ab' };
    assert.deepEqual((await asked(first)).retryOf, { name: 'a', ...facts });
    const { retryOf } = await lab.until('b', 'bound', (status) => status.retryOf !== undefined);
    assert.deepEqual(retryOf, facts);
    await lab.deleteTask('a');
    await lab.setPod(first, modelEnds(3));
    await lab.until('b', 'attempt 2', ({ attempt }) => attempt?.number === 2 && attempt.jobUID !== undefined);
    const second = await lab.pod('b');
    assert.notEqual(second.metadata.uid, first.metadata.uid);
    assert.deepEqual((await asked(second)).retryOf, { name: 'a', ...facts });
    await lab.setPod(second, publishEnds(0, published));
    await lab.until('b', 'Succeeded', ({ phase }) => phase === 'Succeeded');
    await create('c', { retryOf: 'b' });
    assert.equal((await asked(await lab.pod('c'))).retryOf?.outputName, 'b', 'a retry can be retried');
  });

  it('waits for a task that runs, and starts as soon as that has failed', async () => {
    await create('runs');
    const pod = await lab.pod('runs');
    await lab.setPod(pod, modelRuns());
    await create('waits', { retryOf: 'runs' });
    const { message } = await lab.until('waits', 'waits', ({ reason }) => reason === 'RetriedTaskNotEnded');
    assert.match(message ?? '', /retryOf names task "runs", which has not ended/);
    assert.equal((await lab.jobs('waits')).length, 0);
    const ended = Date.now();
    await lab.setPod(pod, prepareEnds(10, { category: 'InvalidInput', message: 'no audio' }));
    await lab.until('runs', 'Failed', ({ phase }) => phase === 'Failed');
    const { retryOf } = await asked(await lab.pod('waits'));
    assert.ok(Date.now() - ended < SOON_MS, 'the end of the other task woke it');
    assert.deepEqual(retryOf, {
      name: 'runs',
      uid: (await lab.get('runs')).metadata.uid,
      identity: (await lab.get('runs')).metadata.uid,
    });
  });

  const wrong: Readonly<Record<string, readonly [spec: object, message: RegExp]>> = {
    'no-such': [{ retryOf: 'nobody' }, /retryOf names task "nobody", which does not exist in namespace/],
    'other-data': [
      { retryOf: 'whole', dataset: { path: 'elsewhere' } },
      /dataset\.path is "elsewhere" here and "corpus" there/,
    ],
    'same-place': [{ retryOf: 'whole', outputName: 'whole' }, /outputName is "whole", where task "whole"/],
  };
  it('fails at once, with the field, both values and the fix, when the two do not fit', async () => {
    await partial('whole');
    for (const [name, [spec, expected]] of Object.entries(wrong)) {
      await create(name, spec);
      const status = await lab.until(name, 'Failed', ({ phase }) => phase === 'Failed');
      assert.equal(status.reason, 'InvalidInput', name);
      assert.match(status.message ?? '', expected);
      assert.equal(status.attempt, undefined, 'no Job was ever made');
    }
  });

  it('is refused by the API server when a task names itself', async () => {
    const { message } = failureOf(await lab.task('itself', { model, retryOf: 'itself' }));
    assert.match(message, /retryOf names the task itself: name an earlier task/);
  });
});
