import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { appendFile, link, mkdir, readFile, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS, RTTM_LINE, wav } from './testing/fixtures.ts';
import type { RequestChanges, StepOutcome, TestPod, TestStore } from './testing/fixtures.ts';
import { readPlan, readRecords } from './testing/staged.ts';
import { observe } from './observe.ts';

/** Fails on b.wav, so that the first attempt is not published. */
const HALF = [
  'sh',
  '-c',
  `case $1 in *b.wav) exit 3;; esac; echo '${RTTM_LINE}' >"$2"`,
  'model',
  '{input}',
  '{output}',
];

async function look(pod: TestPod, changes: RequestChanges = {}): Promise<void> {
  const stop = new AbortController();
  const watching = observe(
    aRequest({ command: HALF, ...changes }),
    pod.options({ signal: stop.signal, scanIntervalMs: 1 }),
  );
  for (let tries = 0; tries < 500; tries++) {
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    const records = await readRecords(join(pod.staging, 'units.jsonl'));
    if (records.size === (plan?.units.length ?? 0) - 1) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stop.abort();
  await watching;
}

describe('a further attempt', () => {
  let store: TestStore;
  let first: TestPod;
  beforeEach(async () => {
    store = await aStore();
    for (const name of ['a', 'b', 'c']) await store.put(`${RECORDINGS}/${name}.wav`);
    first = store.pod(aRequest({ command: HALF }), 'pod-1');
    await first.step('prepare');
    await first.loop();
    await look(first);
    assert.equal((await first.step('publish')).report.category, 'ModelError');
  });
  afterEach(() => store.remove());

  const second = (changes: RequestChanges = {}): Promise<StepOutcome> =>
    store.pod(aRequest({ command: HALF, ...changes }), 'pod-2').step('prepare');
  const states = async (podUid = 'pod-2'): Promise<string[]> => {
    const plan = await readPlan(store.path('outputs/.staging/task-1', podUid, 'plan.json'));
    return plan?.units.map(({ name, state }) => `${name} ${state}`) ?? [];
  };

  it('keeps the units that the first one finished', async () => {
    assert.deepEqual((await second()).report.units, { total: 3, done: 2, failed: 0, reused: 2 });
    assert.deepEqual(await states(), ['a.wav reused', 'b.wav run', 'c.wav reused']);
    const pod = store.pod(aRequest({ command: HALF, maxFailedUnits: 1 }), 'pod-2');
    await pod.loop();
    const { code, report } = await pod.step('publish');
    assert.equal(code, EXIT.ok);
    assert.deepEqual(report.units, { total: 3, done: 2, failed: 1, reused: 2 });
    assert.deepEqual(report.work, { effort: 'Bytes', done: 0, failed: wav().length }, 'only b.wav was run');
    assert.equal(await store.text('outputs/result/raw/a.rttm'), `${RTTM_LINE}\n`);
  });

  it('copies: the file of the first pod is another one', async () => {
    await second();
    const file = 'out/raw/a.rttm';
    const [one, two] = await Promise.all(
      ['pod-1', 'pod-2'].map((pod) => stat(store.path('outputs/.staging/task-1', pod, file))),
    );
    assert.notEqual(one?.ino, two?.ino);
  });

  it('hands its reused units on to a third one', async () => {
    await second();
    await store.pod(aRequest({ command: HALF }), 'pod-3').step('prepare');
    assert.deepEqual(await states('pod-3'), ['a.wav reused', 'b.wav run', 'c.wav reused']);
  });

  const notReused: Record<string, () => Promise<unknown>> = {
    'whose output was changed since': () =>
      appendFile(join(first.staging, 'out/raw/a.rttm'), `${RTTM_LINE}\n`),
    'whose output is gone': () => unlink(join(first.staging, 'out/raw/a.rttm')),
    'whose output is now a link': async () => {
      const file = join(first.staging, 'out/raw/a.rttm');
      await link(file, store.path('same.rttm'));
      await unlink(file);
      await symlink(store.path('same.rttm'), file);
    },
    'whose input was changed since': () => store.put(`${RECORDINGS}/a.wav`, wav(0.2)),
    'whose record is torn': async () => {
      const file = join(first.staging, 'units.jsonl');
      const [, record = ''] = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
      await writeFile(file, `${record}\n{"id":"x","key`);
    },
  };
  for (const [sentence, change] of Object.entries(notReused)) {
    it(`runs a unit again ${sentence}`, async () => {
      await change();
      await second();
      assert.deepEqual(await states(), ['a.wav run', 'b.wav run', 'c.wav reused']);
    });
  }

  it('runs everything again when the task says so, or with other parameters', async () => {
    await second({ resume: false });
    assert.deepEqual(await states(), ['a.wav run', 'b.wav run', 'c.wav run']);
    await store.pod(aRequest({ command: HALF, parameters: { t: '2' } }), 'pod-3').step('prepare');
    assert.deepEqual(await states('pod-3'), ['a.wav run', 'b.wav run', 'c.wav run']);
  });

  it('takes nothing from another task', async () => {
    await store.pod(aRequest({ command: HALF, uid: 'task-2' }), 'pod-2').step('prepare');
    const plan = await readPlan(store.path('outputs/.staging/task-2/pod-2/plan.json'));
    assert.deepEqual(
      plan?.units.map(({ state }) => state),
      ['run', 'run', 'run'],
    );
  });
});

describe('a unit that ends its container', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
    for (const name of ['a', 'b']) await store.put(`${RECORDINGS}/${name}.wav`);
  });
  afterEach(() => store.remove());

  const KILLER = [
    'sh',
    '-c',
    `case $1 in *a.wav) kill -9 $PPID;; esac; echo '${RTTM_LINE}' >"$2"`,
    'model',
    '{input}',
    '{output}',
  ];
  const request = aRequest({ command: KILLER, maxFailedUnits: 1 });

  async function attempt(podUid: string): Promise<StepOutcome> {
    const pod = store.pod(request, podUid);
    const prepared = await pod.step('prepare');
    assert.equal(prepared.code, EXIT.ok);
    await pod.loop();
    return prepared;
  }

  it('is given up after two attempts; the others are published', async () => {
    await attempt('pod-1');
    await attempt('pod-2');
    const third = await attempt('pod-3');
    assert.match(
      third.report.message,
      /"a.wav" ended its container in 2 attempts, most likely for memory: raise/,
    );
    const { code, report } = await store.pod(request, 'pod-3').step('publish');
    assert.equal(code, EXIT.ok);
    assert.match(report.failedUnits?.[0] ?? '', /^a.wav ended its container in 2 attempts/);
    assert.equal(await store.text('outputs/result/raw/b.rttm'), `${RTTM_LINE}\n`);
  });

  it('ends the third attempt before a GPU is used when no unit may fail', async () => {
    await attempt('pod-1');
    await attempt('pod-2');
    const { code, report } = await store.pod(aRequest({ command: KILLER }), 'pod-3').step('prepare');
    assert.equal(code, EXIT.missingOutput);
    assert.equal(report.category, 'OutOfMemory');
  });

  it('is not blamed for attempts that were asked to stop', async () => {
    for (const podUid of ['pod-1', 'pod-2']) {
      const pod = store.pod(request, podUid);
      await pod.step('prepare');
      const plan = await readPlan(join(pod.staging, 'plan.json'));
      await writeFile(join(pod.staging, 'ctl', `${plan?.units[0]?.id ?? ''}.start`), '');
    }
    await attempt('pod-3');
  });

  it('is tried again when its input was replaced', async () => {
    await attempt('pod-1');
    await attempt('pod-2');
    await store.put(`${RECORDINGS}/a.wav`, wav(0.2));
    const { report } = await attempt('pod-3');
    assert.equal(report.units?.failed, 0);
  });

  it('is found among pods without a control directory', async () => {
    await mkdir(store.path('outputs/.staging/task-1/pod-0'), { recursive: true });
    await attempt('pod-1');
  });
});
