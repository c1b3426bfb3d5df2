import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EXIT, progressReport } from '../api/request.ts';
import type { ProgressReport } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS, RTTM_LINE } from './testing/fixtures.ts';
import type { RequestChanges, StepOutcome, TestPod, TestStore } from './testing/fixtures.ts';
import { redisClient, type TestClient } from './testing/redis-client.ts';
import { runAgent } from './index.ts';

const TASK = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
const mine = (more: object = {}): string => JSON.stringify({ task_id: TASK, ...more });
const GOOD = `${RTTM_LINE}\n`;

interface Sidecar {
  readonly port: number;
  readonly progress: () => Promise<ProgressReport>;
  readonly stop: () => Promise<number>;
}

async function sidecar(pod: TestPod): Promise<Sidecar> {
  const stop = new AbortController();
  const http = Promise.withResolvers<number>();
  const redis = Promise.withResolvers<number>();
  const given = { signal: stop.signal, onListening: http.resolve, onRedis: redis.resolve };
  const ended = runAgent('observe', pod.options(given));
  const [port, progressPort] = await Promise.all([redis.promise, http.promise]);
  return {
    port,
    progress: async () =>
      progressReport.parse(await (await fetch(`http://127.0.0.1:${progressPort}/progress`)).json()),
    stop: () => {
      stop.abort();
      return ended;
    },
  };
}

describe('a pod with a worker', () => {
  let store: TestStore;
  let pod: TestPod;
  let queue: Sidecar;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(async () => {
    await queue.stop();
    await store.remove();
  });

  async function begin(changes: RequestChanges = {}): Promise<void> {
    for (const name of ['a', 'b']) await store.put(`${RECORDINGS}/${name}.wav`);
    pod = store.pod(aRequest({ uid: TASK, worker: 'Redis', ...changes }));
    assert.equal((await pod.step('prepare')).code, EXIT.ok);
    queue = await sidecar(pod);
  }

  /** A path below what the worker sees as the outputs of its dataset. */
  const below = (path: string): string => join(pod.staging, 'out', path);

  async function write(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      const file = below(`${TASK}/raw/${name}.rttm`);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, GOOD);
    }
  }

  async function working(work: (client: TestClient) => Promise<void>): Promise<StepOutcome> {
    {
      using client = await redisClient(queue.port);
      client.say('RPOP', 'run_vtc');
      await client.heard('}\r\n');
      await work(client);
    }
    return pod.step('publish');
  }

  async function push(client: TestClient, name: string, message: string): Promise<void> {
    client.say('LPUSH', name, message);
    await client.heard(':1\r\n');
  }

  it('publishes what the worker wrote, and tells its progress on the way', async () => {
    await begin();
    const { code, report } = await working(async (client) => {
      client.say('PUBLISH', 'update_status', mine({ completed_progress: 0.7 }));
      await client.heard(':0\r\n');
      assert.equal((await queue.progress()).percent, 70);
      client.say('PUBLISH', 'update_status', mine({ completed_progress: 0.2 }));
      await client.heard(':0\r\n');
      assert.equal((await queue.progress()).percent, 70, 'never backwards');
      client.say('PUBLISH', 'update_status', mine({ completed_progress: 1 }));
      await client.heard(':0\r\n');
      assert.equal((await queue.progress()).percent, 99, 'only outputs make all of it');
      await write('a', 'b', 'stray');
      await push(client, 'complete_task', mine());
    });
    assert.equal(report.message, 'published 2 of 2 units in "lab/corpus/outputs/result"');
    assert.equal(code, EXIT.ok);
    assert.equal(await store.text('outputs/result/raw/a.rttm'), GOOD);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.deepEqual(manifest.extra.paths, ['raw/stray.rttm']);
  });

  it('takes the word of a worker that outlived its sidecar', async () => {
    await begin();
    const { code } = await working(async () => {
      await write('a', 'b');
      assert.equal(await queue.stop(), EXIT.ok);
      queue = await sidecar(pod);
      using client = await redisClient(queue.port);
      await push(client, 'complete_task', mine());
    });
    assert.equal(code, EXIT.ok);
  });

  it('publishes nothing of a worker that failed, and says why', async () => {
    await begin({ maxFailedUnits: 2 });
    const { code, report } = await working(async (client) => {
      await write('a', 'b');
      await push(client, 'fail_task', mine({ reason: 'All 2 igroup(s)\nfailed to process.' }));
    });
    assert.equal(code, EXIT.missingOutput);
    assert.equal(report.category, 'ModelError');
    assert.equal(report.message, 'the worker reported a failure: "All 2 igroup(s) failed to process."');
    await assert.rejects(store.text('outputs/result/manifest.json'));
  });

  it('does not believe completion without the outputs', async () => {
    await begin();
    const { code, report } = await working(async (client) => {
      await write('a');
      await push(client, 'complete_task', mine());
    });
    assert.equal(code, EXIT.missingOutput);
    assert.equal(report.category, 'MissingOutput');
    assert.match(
      report.message,
      /1 of 2 units failed: "b.wav" the model exited 0, but "raw\/b.rttm" was not written/,
    );
  });

  it('publishes a part of the units where the model allows it', async () => {
    await begin({ maxFailedUnits: 1 });
    const { code, report } = await working(async (client) => {
      await write('a');
      await push(client, 'complete_task', mine());
    });
    assert.equal(code, EXIT.ok);
    assert.deepEqual(report.units, { total: 2, done: 1, failed: 1, reused: 0 });
  });

  it('does not publish what a worker left that ended without a word', async () => {
    await begin();
    const { code, report } = await working(() => write('a', 'b'));
    assert.equal(code, EXIT.missingOutput);
    assert.equal(report.category, 'ModelError');
    assert.match(report.message, /took its task from "run_vtc" and ended without reporting/);
  });

  it('reports a worker that never asked for a task', async () => {
    await begin();
    await write('a', 'b');
    const { code, report } = await pod.step('publish');
    assert.equal(code, EXIT.missingOutput);
    assert.match(report.message, /ended without taking its task: .*REDIS_HOST/);
  });

  it('follows no link that stands in place of the outputs', async () => {
    await begin();
    const { code, report } = await working(async (client) => {
      await write('a', 'b');
      await rename(below(TASK), store.path('elsewhere'));
      await symlink(store.path('elsewhere'), below(TASK));
      await push(client, 'complete_task', mine());
    });
    assert.equal(code, EXIT.missingOutput);
    assert.equal(report.category, 'MissingOutput');
    assert.match(report.message, /put a link there/);
    await assert.rejects(store.text('elsewhere/manifest.json'));
  });

  it('reports outputs that the worker removed as a whole', async () => {
    await begin();
    const { report } = await working(async (client) => {
      await rm(below(TASK), { recursive: true });
      await push(client, 'complete_task', mine());
    });
    assert.equal(report.category, 'MissingOutput');
    assert.match(report.message, /removed its own output directory/);
  });
});
