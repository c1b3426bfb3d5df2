/** ELSI's five models at once, each by its entry in the catalogue. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, describe, it } from 'mocha';
import { CHILDPROJECT_IMAGE } from '../../hack/demo/images.ts';
import type { DeployedStandIn } from '../../hack/elsi-stand-in/deploy.ts';
import { runName } from '../../src/elsi/run.ts';
import { eventually } from '../support/eventually.ts';
import { CHILDPROJECT_RESOURCES, fromCatalogue, installed, installStandIns } from './support/catalogue.ts';
import { corpus, tone } from './support/corpus.ts';
import { connectElsi } from './support/elsi.ts';
import { provideImages, SET_UP_MS } from './support/site.ts';
import { get, podsOf, read, tree } from './support/work.ts';

/** ELSI's name of a model -> entry of the catalogue. */
const MODELS: Readonly<Record<string, string>> = {
  vtc: 'vtc-1-0',
  vtc_2: 'vtc-2-0',
  alice: 'alice-1-0',
  acoustics: 'acoustics-0-4-6',
  w2v2: 'w2v2-1-0',
};
/** What ELSI's researchers may wait for. */
const END_MS = 100_000;
const RECORDINGS = ['child 1/day 1/a.wav', 'b.wav'];

describe('the five models that ELSI asks for', () => {
  const dataset = randomUUID();
  const uids = new Map(Object.keys(MODELS).map((model) => [model, randomUUID()]));
  let elsi: DeployedStandIn;

  before('models and a dataset', async function () {
    this.timeout(SET_UP_MS);
    await provideImages([CHILDPROJECT_IMAGE]);
    await installStandIns();
    await fromCatalogue('acoustics-0-4-6', { resources: CHILDPROJECT_RESOURCES });
    const vtc = [{ from: 0, to: 1500, segments: [{ onset: 100, offset: 1400, speaker: 'CHI' as const }] }];
    await corpus(
      dataset,
      RECORDINGS.map((path) => ({ path, wav: tone(1.5), vtc })),
    );
  });

  before('ELSI', async function () {
    this.timeout(SET_UP_MS);
    const models = Object.entries(MODELS).map(([model, entry]) => [model, installed(entry)] as const);
    elsi = await connectElsi(Object.fromEntries(models));
  });

  /** Asks for all of them; ELSI shows those that it knows as PENDING again. */
  async function ask(): Promise<void> {
    for (const [model_name, task_uid] of uids)
      await elsi.add({ task_uid, model_name, dataset_uid_label: `corpus_${dataset}` });
  }

  const completed = (): Promise<true> =>
    eventually(
      'all are COMPLETED',
      async () => {
        const shown = new Map((await elsi.tasks()).map((task) => [task.task_uid, task.status_label]));
        return [...uids.values()].every((uid) => shown.get(uid) === 'COMPLETED') ? true : undefined;
      },
      END_MS,
    );

  it('end COMPLETED, asked for at once, with their outputs where ELSI looks for them', async () => {
    await ask();
    await completed();
    const stem = RECORDINGS.map((path) => path.replace('.wav', ''));
    const below = (folder: string, ending: string) => stem.map((name) => `${folder}/${name}.${ending}`);
    const expected: Readonly<Record<string, readonly string[]>> = {
      vtc: below('raw', 'rttm'),
      vtc_2: below('raw', 'rttm'),
      alice: [
        'output/child 1/day 1/extra/a_sum.txt',
        'output/child 1/day 1/raw/a.txt',
        'output/extra/b_sum.txt',
        'output/raw/b.txt',
      ],
      acoustics: below('raw', 'csv'),
      w2v2: below('output/raw', 'csv'),
    };
    for (const [model, uid] of uids) {
      const files = ['manifest.json', 'metannots.yml', ...(expected[model] ?? [])];
      assert.deepEqual(await tree(`${dataset}/outputs/${uid}`), files.toSorted(), model);
    }
  });

  it('do not run again when ELSI shows them as PENDING once more', async () => {
    const manifest = (uid: string) => read(`${dataset}/outputs/${uid}/manifest.json`);
    const first = await Promise.all([...uids.values()].map(manifest));
    await ask();
    await completed();
    for (const uid of uids.values()) {
      const task = await get(runName(uid, 1));
      assert.equal(task?.status?.attempt?.number, 1);
      assert.equal((await podsOf(task.metadata.uid)).length, 1);
      assert.equal(await get(runName(uid, 2)), undefined);
    }
    assert.deepEqual(await Promise.all([...uids.values()].map(manifest)), first);
  });
});
