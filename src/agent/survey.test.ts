import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type SurveyAnswer, surveyAnswer } from '../api/store.ts';
import { survey } from './survey.ts';
import { aRequest, aStore, RECORDINGS, wav } from './testing/fixtures.ts';
import type { RequestChanges, TestStore } from './testing/fixtures.ts';

describe('survey()', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
    await store.put(`${RECORDINGS}/a.wav`, wav(1));
    await store.put(`${RECORDINGS}/child/b.wav`, wav(2));
  });
  afterEach(() => store.remove());

  const ask = async (changes: RequestChanges = {}): Promise<SurveyAnswer> =>
    surveyAnswer.parse(await survey(aRequest(changes), store.root));

  it('tells units, audio seconds, bytes and free space, and writes nothing', async () => {
    const { verdict, effort, space, message } = await ask();
    assert.equal(verdict, 'Ready');
    assert.equal(message, '2 recordings, 3.0 s of audio');
    assert.deepEqual(effort, { units: 2, unitsRefused: 0, inputs: 2, inputBytes: 96088, audioSeconds: 3 });
    assert.ok(space !== undefined && space.freeBytes > 0 && space.totalBytes >= space.freeBytes);
    assert.deepEqual((await readdir(store.dataset)).toSorted(), ['recordings']);
  });

  it('counts what the model may lose', async () => {
    await store.put(`${RECORDINGS}/broken.wav`, 'x');
    const { verdict, effort } = await ask({ maxFailedUnits: 1 });
    assert.equal(verdict, 'Ready');
    assert.deepEqual([effort?.units, effort?.unitsRefused], [3, 1]);
  });

  it('knows the result of this very task', async () => {
    assert.equal((await store.pod(aRequest()).run()).code, 0);
    assert.equal((await ask()).verdict, 'Published');
  });

  const requires = ['annotations/vtc/converted/*.csv'];
  const rows: Record<
    string,
    { changes?: RequestChanges; before?: () => Promise<unknown>; expected: string; message: RegExp }
  > = {
    'a dataset that does not exist': {
      changes: { dataset: { path: 'lab/none' } },
      expected: 'Refused/InvalidInput',
      message: /dataset\.path "lab\/none" does not exist in the store/,
    },
    'a dataset that is a link out of the store': {
      before: () => symlink('/', join(store.root, 'all')),
      changes: { dataset: { path: 'all/etc' } },
      expected: 'Refused/InvalidInput',
      message: /outside of the store/,
    },
    'a directory that does not exist': {
      changes: { dataset: { path: 'lab/corpus', directory: 'nobody' } },
      expected: 'Refused/InvalidInput',
      message: /nobody/,
    },
    'more broken recordings than the model allows': {
      before: () => store.put(`${RECORDINGS}/broken.wav`, 'x'),
      expected: 'Refused/InvalidInput',
      message: /1 of 3 inputs cannot be analysed/,
    },
    'the place of the outputs taken by others': {
      before: () => store.put('outputs/result/file'),
      expected: 'Refused/OutputConflict',
      message: /already holds files without a manifest/,
    },
    'a requirement that nothing matches': {
      changes: { requires },
      expected: 'RequirementsMissing/',
      message: /needs "annotations\/vtc\/converted\/\*\.csv".*run the analysis that makes it first/,
    },
    'a requirement met by a git-annex link without content': {
      before: async () => {
        await mkdir(store.path('annotations/vtc/converted'), { recursive: true });
        await symlink('../../../.git/annex/objects/x', store.path('annotations/vtc/converted/a.csv'));
      },
      changes: { requires },
      expected: 'RequirementsMissing/',
      message: /nothing matches/,
    },
    'a requirement met only outside of the dataset': {
      before: async () => {
        await mkdir(join(store.root, 'other/converted'), { recursive: true });
        await store.put('../../other/converted/a.csv');
        await mkdir(store.path('annotations'));
        await symlink('../../../other', store.path('annotations/vtc'));
      },
      changes: { requires },
      expected: 'RequirementsMissing/',
      message: /nothing matches/,
    },
    'a requirement that is met': {
      before: () => store.put('annotations/vtc/converted/a.csv'),
      changes: { requires },
      expected: 'Ready/',
      message: /2 recordings/,
    },
  };
  for (const [what, { changes, before, expected, message }] of Object.entries(rows)) {
    it(`answers ${expected} for ${what}`, async () => {
      await before?.();
      const answer = await ask(changes);
      assert.equal(`${answer.verdict}/${answer.category ?? ''}`, expected);
      assert.match(answer.message, message);
    });
  }

  it('says the same as the prepare step of a pod', async () => {
    const tasks = [{}, { requires }, { dataset: { path: 'lab/none' } }, { include: ['*.flac'] }];
    for (const [index, changes] of tasks.entries()) {
      const { report } = await store.pod(aRequest(changes), `pod-${index}`).step('prepare');
      assert.equal((await ask(changes)).message, report.message);
    }
  });

  it('knows nothing when the store itself is at fault', async () => {
    await rm(store.root, { recursive: true });
    await assert.rejects(survey(aRequest(), store.root));
  });
});
