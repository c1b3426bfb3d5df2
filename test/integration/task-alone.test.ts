import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { published, publishEnds } from '../support/kubelet.ts';
import { openLab } from '../support/lab.ts';
import { startOperator } from '../support/operator.ts';

describe('the task controller in a namespace without a store', () => {
  it('waits for the volume and starts as soon as the claim exists', async () => {
    const lab = await openLab('bare', { withClaim: false });
    const operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
    try {
      expectOk(await lab.task('homeless', { model: await lab.model('vad') }));
      const status = await lab.until(
        'homeless',
        'VolumeNotReady',
        ({ reason }) => reason === 'VolumeNotReady',
      );
      assert.match(
        status.message ?? '',
        /PersistentVolumeClaim "datasets" in namespace "bare-.*does not exist/,
      );
      await lab.createClaim();
      await lab.pod('homeless');
    } finally {
      await operator.stop();
    }
  });
});

describe('a malformed AnalysisModel that an older schema let in', () => {
  it('affects its own tasks only', async () => {
    const lab = await openLab('old');
    const broken = await lab.malformedModel('broken');
    const good = await lab.model('good');
    const operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
    try {
      expectOk(await lab.task('of-broken', { model: broken }));
      expectOk(await lab.task('of-good', { model: good }));
      const status = await lab.until('of-broken', 'ModelInvalid', ({ reason }) => reason === 'ModelInvalid');
      assert.match(status.message ?? '', /malformed .*spec\.run/);
      await lab.setPod(await lab.pod('of-good'), publishEnds(0, published));
      await lab.until('of-good', 'Succeeded', ({ phase }) => phase === 'Succeeded');
    } finally {
      await operator.stop();
    }
  });
});

describe('two controllers at once', () => {
  it('create one Job per attempt even when both believe to lead', async () => {
    const lab = await openLab('split');
    const model = await lab.model('vad');
    const start = (name: string) =>
      startOperator({
        kubeconfig: controlPlane().kubeconfig,
        namespace: lab.namespace,
        config: { leaderElection: { enabled: false, name } },
      });
    const operators = await Promise.all([start('a'), start('b')]);
    try {
      const names = Array.from({ length: 20 }, (_, i) => `both-${i}`);
      for (const name of names) expectOk(await lab.task(name, { model }));
      for (const name of names) {
        await lab.setPod(await lab.pod(name), publishEnds(0, published));
      }
      for (const name of names) {
        const status = await lab.until(name, 'Succeeded', ({ phase }) => phase === 'Succeeded');
        assert.equal(status.attempt?.number, 1, name);
      }
      assert.equal((await lab.jobs()).length, names.length);
    } finally {
      await Promise.all(operators.map((operator) => operator.stop()));
    }
  });
});
