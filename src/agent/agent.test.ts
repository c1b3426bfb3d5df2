import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS, RTTM_LINE, wav } from './testing/fixtures.ts';
import type { TestStore } from './testing/fixtures.ts';

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

  it('reports its result before it removes the staging, which may take long', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await pod.loop();
    let reported: Promise<string> | undefined;
    const log = (line: string): void => {
      if (line.startsWith('removed the staging')) reported = readFile(pod.options().terminationLog, 'utf8');
    };
    assert.equal((await pod.step('publish', { log })).code, EXIT.ok);
    assert.match((await reported) ?? '', /"manifestSha256"/);
  });

  it('carries any name through plan, shell, manifest and report', async () => {
    const names = [
      '-rf',
      'a\nb',
      'c\u2028d',
      "it's",
      '"quoted"',
      '$(touch x)',
      '`id`',
      '子供の声',
      'e\u0301',
      ' blank ',
      '%s',
    ];
    for (const name of names) await store.put(`${RECORDINGS}/${name}/${name}.wav`);
    const { code, report } = await store.pod(aRequest()).run();
    assert.equal(
      report.message,
      `published ${names.length} of ${names.length} units in "lab/corpus/outputs/result"`,
    );
    assert.equal(code, EXIT.ok);
    for (const name of names)
      assert.equal(await store.text(`outputs/result/raw/${name}/${name}.rttm`), `${RTTM_LINE}\n`);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    const listed = manifest.inputs.map((input: { path: string }) => input.path);
    assert.deepEqual(listed.toSorted(), names.map((name) => `${RECORDINGS}/${name}/${name}.wav`).toSorted());
  });

  it('works directory by directory', async () => {
    for (const name of ['a', 'c/a', 'c/b', 'd e/a']) await store.put(`${RECORDINGS}/${name}.wav`);
    const script = `for f in "$1"/*.wav; do n=\${f##*/}; echo '${RTTM_LINE}' >"$2/\${n%.wav}.rttm"; done`;
    const command = ['sh', '-c', script, 'model', '{inputDir}', '{outputDir}'];
    const { code, report } = await store.pod(aRequest({ per: 'Directory', command })).run();
    assert.equal(code, EXIT.ok);
    assert.deepEqual(report.units, { total: 3, done: 3, failed: 0, reused: 0 });
    assert.equal(report.result?.files, 4);
  });
});
