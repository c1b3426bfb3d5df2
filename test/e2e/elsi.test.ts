import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, describe, it } from 'mocha';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { runName } from '../../src/elsi/run.ts';
import { isFinal, ELSI_STATUSES, rankOf } from '../../src/elsi/wire.ts';
import type { DeployedStandIn } from '../../hack/elsi-stand-in/deploy.ts';
import { eventually } from '../support/eventually.ts';
import { connectElsi } from './support/elsi.ts';
import { dataset, get, model, podsOf, tree } from './support/work.ts';

const END_MS = 120_000;

describe('tasks of ELSI in real pods', () => {
  let standIn: DeployedStandIn;

  before(async function () {
    this.timeout(240_000);
    standIn = await connectElsi({ vtc: await model('file') });
  });

  async function ask(label: string): Promise<string> {
    const uid = randomUUID();
    await standIn.add({ task_uid: uid, model_name: 'vtc', dataset_uid_label: label });
    return uid;
  }

  /** What ELSI shows at the end, and every status that it was told; estimates alone are not among them. */
  async function ended(uid: string): Promise<{ readonly shown: string; readonly told: readonly string[] }> {
    const shown = await eventually(
      `ELSI shows an end of ${uid}`,
      async () => {
        const found = (await standIn.tasks()).find(({ task_uid: id }) => id === uid)?.status_label;
        return found === 'COMPLETED' || found === 'FAILED' ? found : undefined;
      },
      END_MS,
    );
    const told = (await standIn.audit()).flatMap((entry) =>
      entry.uid === uid && entry.status ? [entry.status] : [],
    );
    return { shown, told };
  }

  it('are run, published and told RUNNING and COMPLETED in this order, with one end', async () => {
    const folder = randomUUID();
    await dataset(folder, { 'child/a.wav': wav(), 'b.wav': wav() });
    const uid = await ask(`corpus_${folder}`);
    const { shown, told } = await ended(uid);
    assert.equal(shown, 'COMPLETED');
    const ranks = told.map((word) => rankOf(ELSI_STATUSES.find((status) => status === word) ?? 'PENDING'));
    assert.deepEqual(
      ranks,
      ranks.toSorted((a, b) => a - b),
      told.join(),
    );
    const known = ELSI_STATUSES.filter((status) => isFinal(status) && told.includes(status));
    assert.deepEqual(known, ['COMPLETED'], 'exactly one end');
    const task = await get(runName(uid, 1));
    assert.equal(task?.status?.phase, 'Succeeded', task?.status?.message);
    assert.equal((await podsOf(task.metadata.uid)).length, 1, 'it ran once');
    const published = await tree(`${folder}/outputs/${uid}`);
    assert.deepEqual(published, ['manifest.json', 'metannots.yml', 'raw/b.rttm', 'raw/child/a.rttm']);
    await eventually(
      'the end is acknowledged',
      async () => ((await get(runName(uid, 1)))?.metadata.finalizers ?? []).length === 0 || undefined,
    );
  });

  it('are told FAILED where the dataset is not there, and no model runs', async () => {
    const uid = await ask(`corpus_${randomUUID()}`);
    const { shown, told } = await ended(uid);
    assert.deepEqual([shown, [...new Set(told)]], ['FAILED', ['FAILED']]);
    const { status } = (await get(runName(uid, 1))) ?? {};
    assert.equal(status?.phase, 'Failed');
    assert.equal(status?.startedAt, undefined, 'no model ran');
  });
});
