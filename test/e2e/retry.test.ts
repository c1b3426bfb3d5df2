import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'mocha';
import { z } from 'zod';
import { recheckOutputs } from '../../src/agent/recheck.ts';
import { wav } from '../../src/agent/testing/fixtures.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import type { TaskStatus } from '../../src/api/task.ts';
import { site, TASKS } from './support/site.ts';
import { dataset, ended, get, model, onStore, read, task, tree } from './support/work.ts';

/** Fails on a recording that holds the word "bad", after a while in which what came before it is recorded. */
const CAREFUL = 'sleep 2; if grep -q bad "$1"; then exit 3; fi; exec /opt/sh-model/model.sh "$1" "$2"';
const BAD = Buffer.concat([wav(), Buffer.from('bad')]);
const careful = (maxFailedUnits: number): Partial<ModelSpecInput> => ({
  run: { per: 'File', command: ['sh', '-c', CAREFUL, 'careful', '{input}', '{output}'] },
  failure: { maxAttempts: 1, maxFailedUnits },
});
const RECORDINGS = { 'child 1/a.wav': wav(), 'b.wav': wav(), 'z.wav': BAD };
const OUTPUTS = ['manifest.json', 'metannots.yml', 'raw/b.rttm', 'raw/child 1/a.rttm', 'raw/z.rttm'];

const manifest = z.object({
  units: z.array(
    z.object({
      name: z.string(),
      outcome: z.string(),
      from: z.string().optional(),
      rerun: z.string().optional(),
    }),
  ),
});

/** Recordings that the model worked on, by its own words. */
async function workedOn({ attempt }: TaskStatus): Promise<string[]> {
  const log = await site().kube.run(['logs', `job/${attempt?.jobName ?? ''}`, '-n', TASKS]);
  return [...log.matchAll(/^stand-in model: \S+ on .*standard\/(.*)\.wav$/gm)].map(([, name = '']) => name);
}

async function units(outputs: string) {
  return manifest.parse(JSON.parse(await read(`${outputs}/manifest.json`))).units;
}

/** Hashes everything again, the manifest included. */
async function assertTrue(outputs: string, { result }: TaskStatus): Promise<void> {
  const drift: string[] = [];
  const { files } = await recheckOutputs(onStore(outputs), {
    concurrency: 2,
    ...(result?.manifestSha256 === undefined ? {} : { manifestSha256: result.manifestSha256 }),
    onDrift: ({ path, detail }) => drift.push(`${path} ${detail}`),
  });
  assert.deepEqual(drift, []);
  assert.equal(files, 3);
}

describe('a task that retries another one in real pods', () => {
  let lenient: string;
  let strict: string;

  before(async () => {
    lenient = await model('retry-lenient', careful(1));
    strict = await model('retry-strict', careful(0));
  });

  it('runs only the unit that failed, once its file is repaired, and publishes a whole result', async () => {
    await dataset('retry', RECORDINGS);
    await task('retry-a', { model: lenient, dataset: { path: 'retry' } });
    const first = await ended('retry-a');
    assert.deepEqual([first.phase, first.failedUnits?.length], ['PartiallySucceeded', 1], first.message);
    const uid = (await get('retry-a'))?.metadata.uid;
    await dataset('retry', { 'z.wav': wav() });
    await task('retry-b', { model: lenient, dataset: { path: 'retry' }, retryOf: 'retry-a' });
    const status = await ended('retry-b');
    assert.deepEqual([status.phase, status.progress?.summary], ['Succeeded', '3/3'], status.message);
    assert.match(status.message ?? '', /2 copied from the task that is retried/);
    assert.deepEqual(await workedOn(status), ['z']);
    assert.deepEqual(await tree('retry/outputs/retry-b'), OUTPUTS);
    assert.deepEqual(
      (await units('retry/outputs/retry-b')).map(({ name, outcome, from }) => [name, outcome, from]),
      [
        ['b.wav', 'Reused', uid],
        ['child 1/a.wav', 'Reused', uid],
        ['z.wav', 'Done', undefined],
      ],
    );
    await assertTrue('retry/outputs/retry-b', status);
    assert.deepEqual(await tree('retry/outputs/retry-a/raw'), ['b.rttm', 'child 1/a.rttm']);
  });

  it('runs a unit again whose published file was changed, and nothing when nothing is left', async () => {
    const file = onStore('retry/outputs/retry-b/raw/b.rttm');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replaceAll('CHI', 'FEM'));
    await task('retry-c', { model: lenient, dataset: { path: 'retry' }, retryOf: 'retry-b' });
    const third = await ended('retry-c');
    assert.equal(third.phase, 'Succeeded', third.message);
    assert.match(third.message ?? '', /1 run again because their files had changed there/);
    assert.deepEqual(await workedOn(third), ['b']);
    assert.equal(await read('retry/outputs/retry-c/raw/b.rttm'), text);
    assert.match((await units('retry/outputs/retry-c'))[0]?.rerun ?? '', /raw\/b\.rttm.*outputs\/retry-b/);
    await task('retry-d', { model: lenient, dataset: { path: 'retry' }, retryOf: 'retry-c' });
    const fourth = await ended('retry-d');
    assert.equal(fourth.phase, 'Succeeded', fourth.message);
    assert.deepEqual(await workedOn(fourth), []);
    assert.deepEqual(await tree('retry/outputs/retry-d'), OUTPUTS);
    await assertTrue('retry/outputs/retry-d', fourth);
  });

  it('takes what a failed task left in its staging, and that task may be deleted', async () => {
    await dataset('retry-failed', RECORDINGS);
    await task('retry-e', { model: strict, dataset: { path: 'retry-failed' } });
    const first = await ended('retry-e');
    assert.deepEqual([first.phase, first.reason], ['Failed', 'ModelError'], first.message);
    assert.deepEqual(await tree('retry-failed/outputs/retry-e'), []);
    await dataset('retry-failed', { 'z.wav': wav() });
    await task('retry-f', { model: strict, dataset: { path: 'retry-failed' }, retryOf: 'retry-e' });
    await site().kube.run(['wait', 'analysistask/retry-f', '-n', TASKS, '--for=condition=Accepted']);
    await site().kube.run(['delete', 'analysistask', 'retry-e', '-n', TASKS]);
    const status = await ended('retry-f');
    assert.deepEqual([status.phase, status.progress?.summary], ['Succeeded', '3/3'], status.message);
    assert.deepEqual(await workedOn(status), ['z']);
    await assertTrue('retry-failed/outputs/retry-f', status);
  });

  it('is refused, with both values, for another dataset', async () => {
    await task('retry-g', { model: lenient, dataset: { path: 'retry-failed' }, retryOf: 'retry-a' });
    const status = await ended('retry-g');
    assert.deepEqual([status.phase, status.reason], ['Failed', 'InvalidInput']);
    assert.match(status.message ?? '', /dataset\.path is "retry-failed" here and "retry" there/);
  });
});
