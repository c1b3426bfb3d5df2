import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import {
  evicted,
  modelEnds,
  modelRuns,
  prepareEnds,
  publishEnds,
  published,
  waitsFor,
} from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';

describe('the task controller on a real API server', () => {
  let lab: Lab;
  let operator: Operator;
  let model: string;

  before(async () => {
    lab = await openLab('task');
    model = await lab.model('vad', { failure: { maxAttempts: 2, backoffSeconds: 0 } });
    operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
  });
  after(() => operator.stop());

  const phaseIs = (phase: string) => (status: { phase?: string | undefined }) => status.phase === phase;
  const reasonIs = (reason: string) => (status: { reason?: string | undefined }) => status.reason === reason;
  const create = async (name: string, spec: object = {}) =>
    expectOk(await lab.task(name, { model, ...spec }));

  it('follows a task from claim to published result, with one Job', async () => {
    await create('happy');
    const pod = await lab.pod('happy');
    await lab.setPod(pod, modelRuns());
    const running = await lab.until('happy', 'Running', phaseIs('Running'));
    assert.equal(running.attempt?.podName, pod.metadata.name);
    await lab.setPod(pod, publishEnds(0, published));
    const status = await lab.until('happy', 'Succeeded', phaseIs('Succeeded'));
    assert.equal(status.settled, true);
    assert.deepEqual(status.result, published.result);
    assert.equal(status.progress?.summary, '3/3');
    assert.match(status.model?.image ?? '', /@sha256:1/);
    assert.equal((await lab.jobs('happy')).length, 1);
  });

  it('is PartiallySucceeded and names the failed units', async () => {
    await create('partial');
    await lab.setPod(
      await lab.pod('partial'),
      publishEnds(0, {
        ...published,
        units: { total: 3, done: 2, failed: 1, reused: 0 },
        failedUnits: ['b.wav: broken header'],
      }),
    );
    const status = await lab.until('partial', 'partial', phaseIs('PartiallySucceeded'));
    assert.deepEqual(status.failedUnits, ['b.wav: broken header']);
  });

  it('retries a model error in a second Job and then fails with the reason', async () => {
    await create('twice');
    await lab.setPod(await lab.pod('twice'), modelEnds(3, { message: 'ValueError: no speech' }));
    await lab.until(
      'twice',
      'attempt 2',
      ({ attempt }) => attempt?.number === 2 && attempt.jobUID !== undefined,
    );
    await lab.setPod(await lab.pod('twice'), modelEnds(3, { message: 'ValueError: no speech' }));
    const status = await lab.until('twice', 'Failed', phaseIs('Failed'));
    assert.equal(status.reason, 'ModelError');
    assert.match(status.message ?? '', /exit code 3: ValueError: no speech/);
    assert.deepEqual(
      status.failures?.map(({ attempt, category }) => [attempt, category]),
      [
        [1, 'ModelError'],
        [2, 'ModelError'],
      ],
    );
    assert.equal((await lab.jobs('twice')).length, 2);
  });

  it('fails at once when prepare finds bad input', async () => {
    await create('bad');
    await lab.setPod(
      await lab.pod('bad'),
      prepareEnds(10, {
        category: 'InvalidInput',
        message: 'a.wav has 8000 Hz but the model needs 16000 Hz',
      }),
    );
    const status = await lab.until('bad', 'Failed', phaseIs('Failed'));
    assert.equal(status.reason, 'InvalidInput');
    assert.match(status.message ?? '', /8000 Hz/);
    assert.equal((await lab.jobs('bad')).length, 1);
  });

  it('does not count a disruption', async () => {
    await create('evicted');
    await lab.setPod(await lab.pod('evicted'), evicted());
    const status = await lab.until(
      'evicted',
      'attempt 2',
      ({ attempt }) => attempt?.number === 2 && attempt.jobUID !== undefined,
    );
    assert.equal(status.disruptions, 1);
    assert.equal(status.failedAttempts, 0);
    await lab.setPod(await lab.pod('evicted'), publishEnds(0, published));
    await lab.until('evicted', 'Succeeded', phaseIs('Succeeded'));
  });

  it('reports success when prepare finds the result already published', async () => {
    await create('already');
    await lab.setPod(
      await lab.pod('already'),
      prepareEnds(42, { message: 'already published', ...published }),
    );
    await lab.until('already', 'Succeeded', phaseIs('Succeeded'));
  });

  it('repeats a Job that was deleted by hand, as a new attempt', async () => {
    await create('deleted');
    const pod = await lab.pod('deleted');
    await lab.setPod(pod, modelRuns());
    const { attempt } = await lab.until('deleted', 'Running', phaseIs('Running'));
    assert.ok(attempt);
    await lab.deleteJob(attempt.jobName);
    const status = await lab.until(
      'deleted',
      'attempt 2',
      (s) => s.attempt?.number === 2 && s.attempt.jobUID !== undefined,
    );
    assert.deepEqual(
      status.failures?.map(({ category }) => category),
      ['Lost'],
    );
  });

  it('goes on without its model, but starts no further attempt', async () => {
    const gone = await lab.model('gone', { failure: { maxAttempts: 3, backoffSeconds: 0 } });
    expectOk(await lab.task('orphan', { model: gone }));
    const pod = await lab.pod('orphan');
    await lab.setPod(pod, modelRuns());
    await lab.until('orphan', 'Running', phaseIs('Running'));
    await lab.deleteModel(gone);
    await lab.model('gone', { failure: { maxAttempts: 3, backoffSeconds: 0 } });
    await lab.setPod(pod, modelEnds(1));
    const status = await lab.until('orphan', 'Failed', phaseIs('Failed'));
    assert.equal((await lab.jobs('orphan')).length, 1);
    assert.match(status.reason ?? '', /ModelGone|ModelError/);
  });

  it('waits for an unknown model and starts as soon as it exists', async () => {
    expectOk(await lab.task('early', { model: `late-${lab.namespace}` }));
    const status = await lab.until('early', 'ModelNotFound', reasonIs('ModelNotFound'));
    assert.match(status.message ?? '', /does not exist: see kubectl get analysismodels/);
    await lab.model('late');
    await lab.until('early', 'claimed', ({ attempt }) => attempt?.number === 1);
  });

  it('refuses wrong parameters at once, all of them', async () => {
    const strict = await lab.model('strict', {
      parameters: [{ name: 'threshold', type: 'Number', minimum: 0, maximum: 1 }],
    });
    expectOk(await lab.task('params', { model: strict, parameters: { threshold: '2', speed: '1' } }));
    const status = await lab.until('params', 'Failed', phaseIs('Failed'));
    assert.equal(status.reason, 'InvalidInput');
    assert.match(status.message ?? '', /threshold is "2" but must be at most 1/);
    assert.match(status.message ?? '', /speed is not a parameter/);
    assert.deepEqual(await lab.jobs('params'), []);
  });

  it('says what it waits for, and gives up after the pending deadline', async () => {
    const impatient = await lab.model('impatient', { failure: { pendingDeadlineSeconds: 10 } });
    expectOk(await lab.task('stuck', { model: impatient }));
    await lab.setPod(
      await lab.pod('stuck'),
      waitsFor('ImagePullBackOff', 'Back-off pulling image "example.org/nope"'),
    );
    const waiting = await lab.until('stuck', 'ImagePull', reasonIs('ImagePull'));
    assert.match(waiting.message ?? '', /example\.org\/nope/);
    const status = await eventually(
      'Failed',
      async () => {
        const { status: now } = await lab.get('stuck');
        return now?.phase === 'Failed' ? now : undefined;
      },
      60_000,
    );
    assert.equal(status.reason, 'ImagePull');
    assert.match(status.message ?? '', /10 s, the pending deadline/);
    await eventually('no pod is left', async () =>
      (await lab.pods()).some((p) => p.metadata.name.startsWith('stuck')) ? undefined : true,
    );
  });

  it('cancels a running task and leaves no pod', async () => {
    await create('cancelled');
    await lab.setPod(await lab.pod('cancelled'), modelRuns());
    await lab.until('cancelled', 'Running', phaseIs('Running'));
    expectOk(await lab.patchTask('cancelled', { spec: { desired: 'Cancel' } }));
    const status = await lab.until('cancelled', 'Cancelled', phaseIs('Cancelled'));
    assert.equal(status.settled, true);
    assert.deepEqual(
      (await lab.pods()).filter((p) => p.metadata.name.startsWith('cancelled')),
      [],
    );
    assert.equal((await lab.patchTask('cancelled', { spec: { desired: 'Run' } })).status, 422);
  });

  it('suspends by deleting the Job, and resumes as a new attempt', async () => {
    await create('paused');
    await lab.setPod(await lab.pod('paused'), modelRuns());
    await lab.until('paused', 'Running', phaseIs('Running'));
    expectOk(await lab.patchTask('paused', { spec: { desired: 'Suspend' } }));
    const status = await lab.until('paused', 'Suspended', reasonIs('Suspended'));
    assert.equal(status.phase, 'Pending');
    assert.deepEqual(await lab.jobs('paused'), []);
    expectOk(await lab.patchTask('paused', { spec: { desired: 'Run' } }));
    await lab.setPod(await lab.pod('paused'), publishEnds(0, published));
    const end = await lab.until('paused', 'Succeeded', phaseIs('Succeeded'));
    assert.equal(end.attempt?.number, 2);
    assert.equal(end.failedAttempts ?? 0, 0);
  });

  it('refuses an edit after the start, with the reason', async () => {
    await create('edited');
    await lab.pod('edited');
    const { status, body } = await lab.patchTask('edited', { spec: { model: 'other' } });
    assert.equal(status, 422);
    assert.match(JSON.stringify(body), /model is immutable/);
  });

  it('never adopts a Job of its name that belongs to somebody else', async () => {
    await operator.stop();
    expectOk(await lab.task('forged', { model }));
    const { jobName } = await import('../../src/jobs/names.ts');
    const name = jobName((await lab.get('forged')).metadata, 1);
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'x', image: 'x' }] } };
    const foreign = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name },
      spec: { suspend: true, template },
    };
    expectOk(
      await controlPlane().api.call('POST', `/apis/batch/v1/namespaces/${lab.namespace}/jobs`, {
        body: foreign,
      }),
    );
    operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
    const status = await lab.until('forged', 'NameConflict', reasonIs('NameConflict'));
    assert.match(status.message ?? '', /belongs to something else/);
  });

  it('works on a task that carries 200 kB of annotations', async () => {
    const big = Object.fromEntries(
      Array.from({ length: 4 }, (_, i) => [`example.org/a${i}`, 'x'.repeat(50_000)]),
    );
    expectOk(await lab.task('heavy', { model }, big));
    await lab.setPod(await lab.pod('heavy'), publishEnds(0, published));
    await lab.until('heavy', 'Succeeded', phaseIs('Succeeded'));
    const million = await lab.task('too-heavy', { model }, { 'example.org/a': 'x'.repeat(1_000_000) });
    assert.equal(million.status, 422);
  });

  it('deletes the Job and its pod with the task', async () => {
    await create('removed');
    await lab.setPod(await lab.pod('removed'), modelRuns());
    await lab.until('removed', 'Running', phaseIs('Running'));
    await lab.deleteTask('removed');
    await eventually('Job and pod are gone', async () => {
      const left = [
        ...(await lab.jobs('removed')),
        ...(await lab.pods()).filter((p) => p.metadata.name.startsWith('removed')),
      ];
      return left.length === 0 ? true : undefined;
    });
  });

  it('survives being killed at any moment without a second Job', async () => {
    await create('killed');
    for (let round = 0; round < 3; round++) {
      await operator.stop('SIGKILL');
      operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
    }
    const pod = await lab.pod('killed');
    await operator.stop('SIGKILL');
    await lab.setPod(pod, publishEnds(0, published));
    operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
    const status = await lab.until('killed', 'Succeeded', phaseIs('Succeeded'));
    assert.equal(status.attempt?.number, 1);
    assert.equal((await lab.jobs('killed')).length, 1);
  });

  it('writes nothing once everything is settled or waits', async () => {
    await create('quiet');
    await lab.pod('quiet');
    await lab.until('quiet', 'recorded', ({ attempt }) => attempt?.jobUID !== undefined);
    await pause(1500);
    const versions = async () =>
      (await Promise.all(['happy', 'quiet', 'edited'].map((name) => lab.get(name)))).map(
        ({ metadata }) => metadata.resourceVersion,
      );
    const earlier = await versions();
    await pause(4000);
    assert.deepEqual(await versions(), earlier);
  });

  it('says that a quota keeps its Job from being created, and tries again', async () => {
    const quota = {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'no-pods' },
      spec: { hard: { pods: '0' } },
    };
    expectOk(await controlPlane().api.call('POST', lab.path('resourcequotas'), { body: quota }));
    await create('over-quota');
    const status = await lab.until('over-quota', 'QuotaExceeded', reasonIs('QuotaExceeded'));
    assert.match(status.message ?? '', /exceeded quota: no-pods/);
    expectOk(await controlPlane().api.call('DELETE', `${lab.path('resourcequotas')}/no-pods`));
    await eventually(
      'the pod after all',
      async () => (await lab.pods()).find((p) => p.metadata.name.startsWith('over-quota')),
      60_000,
    );
  });

  it('exits with code 0 on SIGTERM and frees the lease', async () => {
    assert.equal(await operator.stop(), 0);
    operator = await startOperator({ kubeconfig: controlPlane().kubeconfig, namespace: lab.namespace });
    await create('after-restart');
    await lab.pod('after-restart');
  });
});
