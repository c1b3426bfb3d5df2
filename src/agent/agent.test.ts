import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { parse } from 'yaml';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS, RTTM_LINE, wav } from './fixtures.ts';
import type { TestStore } from './fixtures.ts';

describe('a whole pod', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(() => store.remove());

  it('publishes what the model wrote, with a manifest and metannots', async () => {
    await store.put(`${RECORDINGS}/a.wav`, wav(1));
    await store.put(`${RECORDINGS}/child 1/it's $(touch x).wav`, wav(2));
    const { code, report } = await store.pod(aRequest()).run();
    assert.equal(report.message, 'published 2 of 2 units in "lab/corpus/outputs/result"');
    assert.equal(code, EXIT.ok);
    assert.deepEqual(report.units, { total: 2, done: 2, failed: 0, reused: 0 });
    assert.equal(report.result?.files, 2);
    assert.equal(report.result.path, 'lab/corpus/outputs/result');
    assert.equal(await store.text(`outputs/result/raw/child 1/it's $(touch x).rttm`), `${RTTM_LINE}\n`);
    assert.deepEqual(await readdir(store.path('outputs/.staging')), []);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.equal(manifest.identity, 'task-1');
    assert.deepEqual(
      manifest.units.map((unit: { outcome: string }) => unit.outcome),
      ['Done', 'Done'],
    );
    assert.deepEqual(
      manifest.outputs.map((output: { path: string }) => output.path),
      ['raw/a.rttm', `raw/child 1/it's $(touch x).rttm`],
    );
    assert.deepEqual(
      manifest.inputs.map((input: { seconds: number }) => input.seconds),
      [1, 2],
    );
    const about = parse(await store.text('outputs/result/metannots.yml'));
    assert.equal(about.annotation_algorithm_version, '2.0');
    assert.equal(about.has_speaker_type, undefined);
  });
});
