import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { RECORDINGS, wav } from '../../src/agent/testing/fixtures.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { published, publishEnds } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { aStoreAgent, type StoreAgent } from '../support/store-agent.ts';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

describe('the task controller with a store agent', () => {
  let lab: Lab;
  let agent: StoreAgent;
  let operator: Operator | undefined;
  beforeEach(async () => {
    lab = await openLab('agent');
    agent = await aStoreAgent();
    await agent.put(`corpus/${RECORDINGS}/a.wav`, wav());
  });
  afterEach(async () => {
    await operator?.stop();
    await agent.remove();
  });

  async function start(more: object = {}): Promise<Operator> {
    const storeAgent = { urlTemplate: agent.url(), tokenFile: agent.tokenFile, ...more };
    const { kubeconfig } = controlPlane();
    operator = await startOperator({ kubeconfig, namespace: lab.namespace, config: { storeAgent } });
    return operator;
  }
  const inputs = { root: RECORDINGS, include: ['**/*.wav'] };
  const dataset = { path: 'corpus' };

  it('holds a task without a Job until the analysis that must come first has run', async () => {
    await agent.start();
    await start();
    const model = await lab.model('needy', { inputs, requires: ['annotations/vtc/*.rttm'] });
    expectOk(await lab.task('needs-vtc', { model, dataset }));
    const status = await lab.until(
      'needs-vtc',
      'RequirementsMissing',
      ({ reason }) => reason === 'RequirementsMissing',
    );
    assert.equal(status.phase, 'Pending');
    assert.match(status.message ?? '', /needs "annotations\/vtc\/\*\.rttm" in dataset "corpus"/);
    assert.deepEqual(await lab.jobs('needs-vtc'), []);
    await agent.put('corpus/annotations/vtc/a.rttm');
    const jobs = async () => ((await lab.jobs('needs-vtc')).length > 0 ? true : undefined);
    await eventually('the next question finds it', jobs, 90_000);
    await lab.pod('needs-vtc');
    assert.equal((await lab.get('needs-vtc')).status?.attempt?.number, 1);
  });

  it('refuses a dataset that does not exist without ever creating a Job', async () => {
    await agent.start();
    await start();
    expectOk(
      await lab.task('typo', { model: await lab.model('vad', { inputs }), dataset: { path: 'corpsu' } }),
    );
    const status = await lab.until('typo', 'Failed', ({ phase }) => phase === 'Failed');
    assert.equal(status.reason, 'InvalidInput');
    assert.match(status.message ?? '', /dataset\.path "corpsu" does not exist in the store/);
    assert.deepEqual(await lab.jobs('typo'), []);
  });

  it('starts tasks as ever while the agent is down, and says so once', async () => {
    await agent.start();
    await agent.stop();
    const started = await start();
    const model = await lab.model('vad', { inputs });
    for (const name of ['one', 'two', 'three']) expectOk(await lab.task(name, { model, dataset }));
    for (const name of ['one', 'two', 'three']) await lab.pod(name);
    const told = started.log().filter((line) => line.includes('The store agent does not answer'));
    assert.equal(told.length, 1, told.join('\n'));
  });

  it('sweeps what belongs to no task, and never the staging of one that may still run', async () => {
    await agent.start('--least-idle-seconds', '0');
    const model = await lab.model('vad', { inputs });
    await start({ sweepIntervalSeconds: 5, unknownStagingSeconds: 1, timeoutSeconds: 5 });
    for (const name of ['runs', 'suspended', 'over']) expectOk(await lab.task(name, { model, dataset }));
    const staging = async (name: string) => {
      const { uid } = (await lab.get(name)).metadata;
      await agent.put(`corpus/outputs/.staging/${uid}/pod/out/x`);
      return join(agent.root, 'corpus/outputs/.staging', uid);
    };
    const [running, suspended, over] = [
      await staging('runs'),
      await staging('suspended'),
      await staging('over'),
    ];
    await lab.setPod(await lab.pod('over'), publishEnds(0, published));
    await lab.until('over', 'settled', ({ settled }) => settled === true);
    await lab.patchTask('suspended', { spec: { desired: 'Suspend' } });
    await agent.put('corpus/outputs/.staging/of-a-deleted-task/pod/out/x');
    await agent.put('corpus/outputs/.staging/.swept-of-another-0123abcd/pod/out/x');
    const gone = join(agent.root, 'corpus/outputs/.staging/of-a-deleted-task');
    await eventually('the orphan is gone', async () => ((await exists(gone)) ? undefined : true), 60_000);
    assert.equal(await exists(join(agent.root, 'corpus/outputs/.staging/.swept-of-another-0123abcd')), false);
    assert.equal(await exists(join(running, 'pod/out/x')), true);
    assert.equal(await exists(join(suspended, 'pod/out/x')), true);
    assert.equal(await exists(join(over, 'pod/out/x')), true, 'a settled task keeps it for an hour');
  });
});
