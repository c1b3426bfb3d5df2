import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'mocha';
import type { ModelSpecInput } from '../../src/api/model.ts';
import type { Progress, TaskStatus } from '../../src/api/task.ts';
import { provideImages, SET_UP_MS, testImage } from './support/site.ts';
import { dataset, ended, get, model, onStore, read, task, tree, until } from './support/work.ts';

const WORKER_IMAGE = 'localhost/analysis-operator/redis-worker:test';

/** A model whose image is a worker as the labs build them: nothing is told to it but its entry point. */
const worker: Partial<ModelSpecInput> = {
  image: WORKER_IMAGE,
  run: { per: 'Dataset', worker: 'Redis' },
  inputs: { include: ['**/*.txt'] },
  outputs: [{ path: 'raw/{rel}.txt', format: 'Text' }],
  resources: { cpu: '50m', memory: '128Mi' },
  failure: { maxAttempts: 1 },
};

const text = Buffer.from('one two three\n');
const texts = (...names: readonly string[]): Record<string, Buffer> =>
  Object.fromEntries(names.map((name) => [name, text]));

/** The progress of a task whose worker says that it is far, while next to no output is there. */
async function moreThanOutputs(): Promise<Progress | undefined> {
  const isTold = ({ progress }: TaskStatus): boolean =>
    progress !== undefined && progress.percent - (100 * progress.unitsDone) / progress.unitsTotal >= 30;
  return (await until('worker-lies', "the worker's own progress is shown", isTold)).progress;
}

/** Waits for the first attempt to fail, and takes its cause away. */
async function firstDeath(): Promise<TaskStatus> {
  const isOver = ({ failures = [] }: TaskStatus): boolean => failures.length > 0;
  const status = await until('worker-dies', 'the first attempt failed', isOver);
  await rm(onStore('worker-dies/extra/die'));
  return status;
}

describe('a worker of the labs, unmodified', () => {
  let told: Progress | undefined;
  let died: TaskStatus;

  before(async function () {
    this.timeout(SET_UP_MS);
    await provideImages([testImage('redis-worker', WORKER_IMAGE)]);
    const once = await model('worker', worker);
    const twice = await model('worker-twice', { ...worker, failure: { maxAttempts: 2, backoffSeconds: 5 } });
    const named = 'words_0a0a0a0a-1111-2222-3333-444444444444';
    await dataset(named, texts('slow_a.txt', 'child 1/b.txt'));
    await task('worker-good', { model: once, dataset: { path: named } });
    await dataset('worker-part', texts('child 1/a.txt', 'child 2/b.txt'));
    await task('worker-part', { model: once, dataset: { path: 'worker-part', directory: 'child 2' } });
    await dataset('worker-fails', texts('fail_a.txt', 'fail_b.txt'));
    await task('worker-fails', { model: once, dataset: { path: 'worker-fails' } });
    await dataset('worker-lies', texts('lie_a.txt', 'lie_b.txt', 'slow_c.txt'));
    await task('worker-lies', { model: once, dataset: { path: 'worker-lies' } });
    await dataset('worker-dies', texts('a.txt'));
    await mkdir(onStore('worker-dies/extra'));
    await writeFile(onStore('worker-dies/extra/die'), '');
    await task('worker-dies', { model: twice, dataset: { path: 'worker-dies' } });
    [told, died] = await Promise.all([moreThanOutputs(), firstDeath()]);
  });

  it('gets a second attempt when it dies after it took its task', async () => {
    assert.equal(died.attempt?.number, 1);
    const status = await ended('worker-dies');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.equal(status.attempt?.number, 2);
    assert.equal(await read('worker-dies/outputs/worker-dies/raw/a.txt'), 'Word count: 3\n');
  });

  it('succeeds, and what it wrote is published', async () => {
    const status = await ended('worker-good');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.equal(status.progress?.summary, '2/2');
    const place = 'words_0a0a0a0a-1111-2222-3333-444444444444/outputs';
    assert.deepEqual(await tree(`${place}/worker-good`), [
      'manifest.json',
      'metannots.yml',
      'raw/child 1/b.txt',
      'raw/slow_a.txt',
    ]);
    assert.doesNotMatch(await read(`${place}/worker-good/metannots.yml`), /latest/);
    const uid = (await get('worker-good'))?.metadata.uid;
    assert.deepEqual(await tree(`${place}/.staging/${uid}`), []);
  });

  it('works on the directory that was asked for', async () => {
    const status = await ended('worker-part');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.deepEqual(await tree('worker-part/outputs/worker-part/raw'), ['child 2/b.txt']);
  });

  it('reports its progress, which is shown as it comes', () => {
    assert.ok((told?.percent ?? 0) >= 60, JSON.stringify(told));
  });

  it('is Failed with its reason when it reports a failure and exits 0', async () => {
    const status = await ended('worker-fails');
    assert.equal(status.phase, 'Failed');
    assert.equal(status.reason, 'ModelError');
    assert.match(
      status.message ?? '',
      /the worker reported a failure: "All 2 group\(s\) failed to process\."/,
    );
    assert.deepEqual(await tree('worker-fails/outputs/worker-fails'), []);
  });

  it('has not succeeded when it reports completion without an output', async () => {
    const status = await ended('worker-lies');
    assert.equal(status.phase, 'Failed');
    assert.equal(status.reason, 'MissingOutput');
    assert.match(
      status.message ?? '',
      /2 of 3 units failed: "lie_a.txt" the model exited 0, but "raw\/lie_a.txt" was not written/,
    );
    assert.deepEqual(await tree('worker-lies/outputs/worker-lies'), []);
  });
});
