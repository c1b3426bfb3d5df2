import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { agentReport, EXIT } from '../api/request.ts';
import { aRequest, aStore, GOOD_MODEL, RECORDINGS, RTTM_LINE, wav } from './testing/fixtures.ts';
import type { TestStore } from './testing/fixtures.ts';

const SIZE = wav(1).length;
/** Fails for b.wav. */
const CHOOSY = [
  'sh',
  '-c',
  `case "$1" in */b.wav) exit 3;; esac; echo '${RTTM_LINE}' >"$2"`,
  'model',
  '{input}',
  '{output}',
];

describe('the work that publish reports', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
    for (const name of ['a', 'b', 'c']) await store.put(`${RECORDINGS}/${name}.wav`, wav(1));
  });
  afterEach(() => store.remove());

  it('is the effort of all units of a pod that ran them all', async () => {
    const { report } = await store.pod(aRequest({ command: GOOD_MODEL })).run();
    assert.deepEqual(report.work, { effort: 'Bytes', done: 3 * SIZE, failed: 0 });
  });

  it('is counted as the model wants it', async () => {
    const { report } = await store.pod(aRequest({ effort: 'AudioSeconds' })).run();
    assert.deepEqual(report.work, { effort: 'AudioSeconds', done: 3, failed: 0 });
  });

  it('tells failed units apart', async () => {
    const { report } = await store.pod(aRequest({ command: CHOOSY, maxFailedUnits: 1 })).run();
    assert.deepEqual(report.work, { effort: 'Bytes', done: 2 * SIZE, failed: SIZE });
  });

  it('is nothing when nothing was published', async () => {
    assert.equal((await store.pod(aRequest({ command: CHOOSY })).run()).report.work, undefined);
  });

  it('is the same when a crash makes the pod report again, and nothing in any other pod', async () => {
    const pod = store.pod(aRequest());
    const { report } = await pod.run();
    assert.deepEqual((await pod.step('publish')).report.work, report.work);
    const later = await store.pod(aRequest(), 'pod-2').step('prepare');
    assert.deepEqual([later.code, later.report.work], [EXIT.alreadyPublished, undefined]);
    assert.equal((await store.pod(aRequest(), 'pod-3').step('publish')).report.work, undefined);
  });

  it('makes no report unreadable when another version writes it otherwise', () => {
    const report = { v: 1, message: 'published', work: { effort: 'Tokens', done: 'many' } };
    assert.deepEqual(agentReport.parse(report), { v: 1, message: 'published', work: undefined });
  });
});
