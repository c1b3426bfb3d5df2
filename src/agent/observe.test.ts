import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { appendFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT, progressReport } from '../api/request.ts';
import type { ProgressReport } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS, RTTM_LINE, wav } from './testing/fixtures.ts';
import type { RequestChanges, TestPod, TestStore } from './testing/fixtures.ts';
import { readPlan, readRecords } from './testing/staged.ts';
import { runAgent } from './index.ts';

interface Observer {
  readonly url: string;
  readonly stop: () => Promise<number>;
  readonly log: readonly string[];
}

async function observing(pod: TestPod): Promise<Observer> {
  const stop = new AbortController();
  const log: string[] = [];
  const { promise: port, resolve } = Promise.withResolvers<number>();
  const options = pod.options({ signal: stop.signal, onListening: resolve, log: (line) => log.push(line) });
  const ended = runAgent('observe', options);
  return {
    url: `http://127.0.0.1:${await port}`,
    log,
    stop: () => {
      stop.abort();
      return ended;
    },
  };
}

async function progressOf(observer: Observer): Promise<ProgressReport> {
  return progressReport.parse(await (await fetch(`${observer.url}/progress`)).json());
}

async function until(observer: Observer, isSo: (report: ProgressReport) => boolean): Promise<ProgressReport> {
  for (let tries = 0; tries < 300; tries++) {
    const report = await progressOf(observer);
    if (isSo(report)) return report;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return assert.fail(`waited in vain; last: ${JSON.stringify(await progressOf(observer))}`);
}

describe('observe', () => {
  let store: TestStore;
  let pod: TestPod;
  let observer: Observer | undefined;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(async () => {
    await observer?.stop();
    observer = undefined;
    await store.remove();
  });

  async function begin(changes: RequestChanges = {}): Promise<Observer> {
    pod = store.pod(aRequest(changes));
    await pod.step('prepare');
    observer = await observing(pod);
    return observer;
  }

  async function end(name: string, code: number, output?: string): Promise<void> {
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    const unit = plan?.units.find((candidate) => candidate.name === name);
    if (output !== undefined) await writeFile(join(pod.staging, 'out', unit?.outputs[0]?.path ?? ''), output);
    await writeFile(join(pod.staging, 'ctl', `${unit?.id ?? ''}.exit`), `${code}\n`);
  }

  it('tells progress by bytes and records finished units as they end', async () => {
    await store.put(`${RECORDINGS}/a.wav`, wav(1));
    await store.put(`${RECORDINGS}/b.wav`, wav(2));
    await store.put(`${RECORDINGS}/c.wav`, wav(1));
    const watched = await begin({ maxFailedUnits: 1 });
    const { work, ...counts } = await progressOf(watched);
    assert.deepEqual(counts, {
      taskUID: 'task-1',
      podUID: 'pod-1',
      unitsDone: 0,
      unitsTotal: 3,
      unitsFailed: 0,
      percent: 0,
    });
    const bytes = wav(1).length * 2 + wav(2).length;
    assert.deepEqual([work?.effort, work?.done, work?.left], ['Bytes', 0, bytes]);
    await end('a.wav', 0, `${RTTM_LINE}\n`);
    assert.equal((await until(watched, ({ unitsDone }) => unitsDone === 1)).percent, 25);
    await end('b.wav', 3);
    const half = await until(watched, ({ unitsFailed }) => unitsFailed === 1);
    assert.equal(half.percent, 74);
    assert.deepEqual([half.work?.left, half.work?.sinceSeconds], [wav(1).length, 0]);
    await end('c.wav', 0, `${RTTM_LINE}\n`);
    assert.equal((await until(watched, ({ unitsDone }) => unitsDone === 2)).percent, 100);
    const records = [...(await readRecords(join(pod.staging, 'units.jsonl'))).values()];
    assert.deepEqual(
      records.map(({ outputs }) => outputs[0]?.path),
      ['raw/a.rttm', 'raw/c.rttm'],
    );
    assert.equal((await pod.step('publish')).code, EXIT.ok);
  });

  it('does not record a unit that ended well but left a broken output', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    const watched = await begin();
    await end('a.wav', 0, 'SPEAKER');
    await until(watched, ({ unitsFailed }) => unitsFailed === 1);
    assert.equal((await readRecords(join(pod.staging, 'units.jsonl'))).size, 0);
  });

  it('does not follow a marker that is a link', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    const watched = await begin();
    await writeFile(store.path('zero'), '0\n');
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    await symlink(store.path('zero'), join(pod.staging, 'ctl', `${plan?.units[0]?.id ?? ''}.exit`));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal((await progressOf(watched)).unitsDone, 0);
  });

  it('goes on after a restart without recording twice, behind a torn record', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    await store.put(`${RECORDINGS}/b.wav`);
    const first = await begin();
    await end('a.wav', 0, `${RTTM_LINE}\n`);
    await until(first, ({ unitsDone }) => unitsDone === 1);
    assert.equal(await first.stop(), EXIT.ok);
    await appendFile(join(pod.staging, 'units.jsonl'), '{"torn');
    observer = await observing(pod);
    await end('b.wav', 0, `${RTTM_LINE}\n`);
    await until(observer, ({ unitsDone }) => unitsDone === 2);
    assert.equal((await readRecords(join(pod.staging, 'units.jsonl'))).size, 2);
  });

  it('counts the outputs of a dataset run', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    await store.put(`${RECORDINGS}/b.wav`);
    const watched = await begin({ per: 'Dataset', command: ['run', '{inputDir}'] });
    await writeFile(join(pod.staging, 'out/raw/b.rttm'), '');
    await writeFile(join(pod.staging, 'out/raw/a.rttm'), `${RTTM_LINE}\n`);
    const report = await until(watched, ({ unitsDone }) => unitsDone > 0);
    assert.equal(report.unitsDone, 1);
    assert.equal(report.percent, 50);
    assert.deepEqual([report.work?.done, report.work?.left], [wav().length, wav().length]);
  });

  it('answers /healthz, and nothing else', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    const { url } = await begin();
    const status = async (path: string, method = 'GET'): Promise<number> =>
      (await fetch(`${url}${path}`, { method })).status;
    assert.deepEqual(
      [await status('/healthz'), await status('/etc/passwd'), await status('/progress', 'POST')],
      [200, 404, 405],
    );
  });

  it('ends at once and well when it is asked to, also when the staging is gone', async () => {
    await store.put(`${RECORDINGS}/a.wav`);
    const watched = await begin();
    await rm(pod.staging, { recursive: true });
    await mkdir(pod.staging);
    const since = Date.now();
    assert.equal(await watched.stop(), EXIT.ok);
    assert.ok(Date.now() - since < 1000);
  });

  it('reports a missing plan', async () => {
    pod = store.pod(aRequest());
    await mkdir(pod.staging, { recursive: true });
    await store.put(`${RECORDINGS}/a.wav`);
    assert.equal((await pod.step('observe')).code, EXIT.internal);
  });
});
