import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { watch } from 'node:fs';
import { mkdir, readdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stagingAnswer, sweepAnswer } from '../api/store.ts';
import { listStaging, removeStaging } from './sweep.ts';
import { aRequest, aStore, GOOD_MODEL, RECORDINGS, wav } from './testing/fixtures.ts';
import type { TestStore } from './testing/fixtures.ts';

const DATASET = 'lab/corpus';

describe('the sweep of staging', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(() => store.remove());

  // No age is asked for: a change time cannot be set back.
  const limits = (leastIdleSeconds = 0) => ({ until: performance.now() + 20_000, leastIdleSeconds });
  const list = async () => stagingAnswer.parse(await listStaging(store.root, limits()));
  const sweep = async (name: string, { dataset = DATASET, least = 0, minIdleSeconds = 0 } = {}) =>
    sweepAnswer.parse(
      await removeStaging(store.root, { remove: [{ dataset, name, minIdleSeconds }] }, limits(least)),
    );
  const staged = (uid: string) => store.put(`outputs/.staging/${uid}/pod-1/out/raw/a.rttm`);

  it('lists the staging of every dataset, and nothing else', async () => {
    await staged('task-1');
    await staged('task-2');
    await store.put('outputs/result/manifest.json');
    await store.put('../other corpus/outputs/.staging/task-3/pod-1/units.jsonl');
    await store.put('../../.hidden/outputs/.staging/task-4/x');
    await store.put('recordings/outputs/.staging/task-5/x');
    await store.put('outputs/.staging/a file');
    const { entries, complete } = await list();
    assert.equal(complete, true);
    assert.deepEqual(entries.map(({ dataset, name }) => `${dataset} ${name}`).toSorted(), [
      'lab/corpus task-1',
      'lab/corpus task-2',
      'lab/other corpus task-3',
    ]);
    for (const { idleSeconds, swept } of entries) assert.ok(idleSeconds >= 0 && idleSeconds < 20 && !swept);
  });

  it('says that the list is not complete when time runs out', async () => {
    await staged('task-1');
    const answer = await listStaging(store.root, { until: performance.now() - 1, leastIdleSeconds: 0 });
    assert.deepEqual(answer, { v: 1, entries: [], complete: false });
  });

  it('removes what is named, and nothing beside it', async () => {
    await staged('task-1');
    await staged('task-2');
    await store.put('outputs/result/manifest.json');
    assert.deepEqual(await sweep('task-1'), { v: 1, removed: 1, kept: [] });
    assert.deepEqual(await readdir(store.path('outputs/.staging')), ['task-2']);
    assert.deepEqual(await readdir(store.path('outputs/result')), ['manifest.json']);
  });

  it('takes a directory away as a whole before it removes its first file', async () => {
    await staged('task-1');
    const names: (string | null)[] = [];
    const moved = Promise.withResolvers<void>();
    const watcher = watch(store.path('outputs/.staging'), (_event, name) => {
      names.push(name);
      if (name?.startsWith('.swept-task-1-')) moved.resolve();
    });
    assert.equal((await sweep('task-1')).removed, 1);
    await moved.promise;
    watcher.close();
    assert.equal(names[0], 'task-1');
  });

  it('takes the age of the newest file, however deep', async () => {
    await staged('task-1');
    await sleep(1100);
    assert.ok(((await list()).entries[0]?.idleSeconds ?? 0) >= 1);
    await store.put('outputs/.staging/task-1/pod-1/out/raw/deep/new.rttm');
    assert.ok(((await list()).entries[0]?.idleSeconds ?? 9) < 1);
  });

  for (const [who, ages] of [
    ['the question', { minIdleSeconds: 3600 }],
    ['the agent itself', { least: 600 }],
  ] as const) {
    it(`keeps what was written to within the time that ${who} asks for`, async () => {
      await staged('task-1');
      const { removed, kept } = await sweep('task-1', ages);
      assert.equal(removed, 0);
      assert.match(kept[0]?.reason ?? '', /was written to \d+ s ago, and \d+ s are asked for/);
      assert.ok(await stat(store.path('outputs/.staging/task-1/pod-1/out/raw/a.rttm')));
    });
  }

  it('removes what an interrupted sweep left, without asking for its age', async () => {
    await store.put('outputs/.staging/.swept-task-1-0123abcd/pod-1/x');
    const { entries } = await list();
    assert.deepEqual(
      entries.map(({ name, swept }) => [name, swept]),
      [['.swept-task-1-0123abcd', true]],
    );
    assert.equal((await sweep('.swept-task-1-0123abcd', { least: 600 })).removed, 1);
  });

  const outside: Record<string, readonly [string, string]> = {
    'a name with a path in it': [DATASET, '../result'],
    'a hidden name': [DATASET, '.'],
    'a dataset with ..': ['lab/corpus/../corpus', 'task-1'],
    'an absolute dataset': ['/lab/corpus', 'task-1'],
    'a dataset behind a link': ['lab/linked', 'task-1'],
    'a dataset whose staging is a link': ['lab/planted', 'task-1'],
    'staging that is itself a link': [DATASET, 'task-link'],
    'staging that is not there': [DATASET, 'task-9'],
  };
  for (const [what, [dataset, name]] of Object.entries(outside)) {
    it(`refuses ${what}`, async () => {
      await staged('task-1');
      await store.put('outputs/result/manifest.json');
      await symlink('corpus', join(store.root, 'lab/linked'));
      await mkdir(join(store.root, 'lab/planted/outputs'), { recursive: true });
      await symlink('../../corpus/outputs/.staging', join(store.root, 'lab/planted/outputs/.staging'));
      await symlink('../result', store.path('outputs/.staging/task-link'));
      const { removed, kept } = await sweep(name, { dataset });
      assert.deepEqual([removed, kept.length], [0, 1]);
      assert.ok(await stat(store.path('outputs/.staging/task-1/pod-1/out/raw/a.rttm')));
      assert.ok(await stat(store.path('outputs/result/manifest.json')));
    });
  }

  it('makes a pod that works against all expectation fail as a whole, never publish a part', async () => {
    await store.put(`${RECORDINGS}/a.wav`, wav());
    const pod = store.pod(aRequest({ command: GOOD_MODEL }));
    assert.equal((await pod.step('prepare')).code, 0);
    await pod.loop();
    assert.equal((await sweep('task-1')).removed, 1);
    assert.notEqual((await pod.step('publish')).code, 0);
    assert.deepEqual(await readdir(store.path('outputs')), ['.staging']);
  });
});
