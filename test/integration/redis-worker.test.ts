/** A worker with the real `redis` package of PyPI, between the prepare, observe and publish steps of a pod. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import { type RunResult, tryRun } from '../../hack/cluster/exec.ts';
import { ROOT } from '../../hack/gen/files.ts';
import { runAgent } from '../../src/agent/index.ts';
import {
  aRequest,
  aStore,
  RECORDINGS,
  type RequestChanges,
  type StepOutcome,
  type TestStore,
} from '../../src/agent/testing/fixtures.ts';
import { EXIT } from '../../src/api/request.ts';
import { pythonPackages } from '../support/python.ts';

const IMAGE = join(ROOT, 'test/images/redis-worker');
const TASK = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
const DATASET = '0a0a0a0a-1111-2222-3333-444444444444';
const WORKER_MS = 60_000;

/** How a pod ended: the worker's process, what publish made of it, and what the sidecar logged. */
interface Ended {
  readonly worker: RunResult;
  readonly publish: StepOutcome;
  readonly log: readonly string[];
}

const CLIENTS: Readonly<Record<string, string>> = {
  'redis 7.4': 'requirements.txt',
  'redis 8.1, which speaks version 3 of the protocol': 'requirements-8.txt',
};

for (const [client, requirements] of Object.entries(CLIENTS))
  describe(`a worker with ${client}`, () => {
    let packages: string;
    let store: TestStore;
    let datasets: string;
    before(async function () {
      this.timeout(300_000);
      packages = await pythonPackages(join(IMAGE, requirements));
    });
    beforeEach(async () => {
      store = await aStore();
      datasets = await mkdtemp(join(tmpdir(), 'datasets-'));
    });
    afterEach(async () => {
      await store.remove();
      await rm(datasets, { recursive: true, force: true });
    });

    /** Shows the worker its dataset as the mounts of a pod do. */
    async function mount(staging: string): Promise<void> {
      const dataset = join(datasets, DATASET);
      await mkdir(dataset);
      await symlink(store.path('recordings'), join(dataset, 'recordings'));
      await symlink(store.path('extra'), join(dataset, 'extra'));
      await symlink(join(staging, 'out'), join(dataset, 'outputs'));
    }

    async function runPod(
      files: Readonly<Record<string, string>>,
      changes: RequestChanges = {},
    ): Promise<Ended> {
      const path = `lab/corpus_${DATASET}`;
      await symlink(store.dataset, join(store.root, path));
      for (const [name, content] of Object.entries(files)) await put(name, content);
      const pod = store.pod(
        aRequest({
          uid: TASK,
          worker: 'Redis',
          include: ['**/*.txt'],
          outputs: [{ path: 'raw/{rel}.txt', format: 'Text' }],
          dataset: { path },
          ...changes,
        }),
      );
      const prepared = await pod.step('prepare');
      assert.equal(prepared.code, EXIT.ok, prepared.report.message);
      await mount(pod.staging);
      const stop = new AbortController();
      const { promise: port, resolve } = Promise.withResolvers<number>();
      const log: string[] = [];
      const sidecar = runAgent(
        'observe',
        pod.options({ signal: stop.signal, onRedis: resolve, log: (line) => log.push(line) }),
      );
      const worker = await tryRun('python3', [join(IMAGE, 'worker.py')], {
        timeoutMs: WORKER_MS,
        env: {
          PYTHONPATH: packages,
          REDIS_HOST: '127.0.0.1',
          REDIS_PORT: String(await port),
          DATASETS_DIR: datasets,
          ECHOLALIA_DIR: datasets,
        },
      });
      stop.abort();
      await sidecar;
      return { worker, publish: await pod.step('publish'), log };
    }

    async function put(name: string, content: string): Promise<void> {
      const file = store.path(RECORDINGS, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
    }

    it('ends well, and its outputs are published', async () => {
      const { worker, publish, log } = await runPod({ 'child 1/a.txt': 'one two three', 'b.txt': 'one' });
      assert.equal(worker.code, 0, worker.stdout + worker.stderr);
      assert.equal(publish.code, EXIT.ok, publish.report.message);
      assert.equal(await store.text('outputs/result/raw/child 1/a.txt'), 'Word count: 3\n');
      assert.doesNotMatch(
        await store.text('outputs/result/metannots.yml'),
        /latest/,
        'ours, not the worker’s',
      );
      assert.deepEqual(log, ['handed the task out on "run_word_count"', 'the worker reported completion']);
    });

    it('fails with its reason, though it exits 0', async () => {
      const { worker, publish } = await runPod({ 'fail_a.txt': 'x', 'fail_b.txt': 'x' });
      assert.equal(worker.code, 0, worker.stderr);
      assert.equal(publish.report.category, 'ModelError');
      assert.equal(
        publish.report.message,
        'the worker reported a failure: "All 2 group(s) failed to process."',
      );
    });

    it('has failed when one of its groups did, whatever it says', async () => {
      const { worker, publish, log } = await runPod({ 'a.txt': 'x', 'fail_b.txt': 'x' });
      assert.equal(worker.code, 0, worker.stderr);
      assert.ok(log.includes('the worker reported completion'));
      assert.equal(publish.report.category, 'MissingOutput');
      assert.match(publish.report.message, /"raw\/fail_b.txt" was not written/);
    });

    it('tells its reason before an error that it did not expect ends it', async () => {
      const raised = await runPod({ 'raise_a.txt': 'x' });
      assert.equal(raised.worker.code, 1);
      assert.match(
        raised.worker.stderr.trimEnd(),
        /RuntimeError: nobody expected raise_a.txt$/,
        'the last line of its log',
      );
      assert.deepEqual(raised.log.slice(1), ['the worker reported a failure: "nobody expected raise_a.txt"']);
    });

    it('has failed when it leaves without a word', async () => {
      const { worker, publish, log } = await runPod({ 'a.txt': 'x', 'quit.txt': 'x' });
      assert.equal(worker.code, 0, worker.stderr);
      assert.equal(log.length, 1);
      assert.equal(publish.report.category, 'ModelError');
    });

    it('is not believed when its progress comes where completions belong', async () => {
      const { worker, publish } = await runPod({ 'old.txt': 'x' });
      assert.equal(worker.code, 0, worker.stderr);
      assert.match(publish.report.message, /ended without reporting completion or failure/);
    });
  });
