import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aRequest, aStore, RECORDINGS } from './testing/fixtures.ts';
import type { RequestChanges, TestStore } from './testing/fixtures.ts';
import { WorkerDesk } from './worker-desk.ts';
import { quoted, readWorkerRecord, workerFailure } from './worker-record.ts';

const TASK = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
const DATASET = '0a0a0a0a-1111-2222-3333-444444444444';
const mine = (more: object = {}): string => JSON.stringify({ task_id: TASK, ...more });

describe('the queues of a worker', () => {
  let store: TestStore;
  let file: string;
  let shares: number[];
  let lines: string[];
  beforeEach(async () => {
    store = await aStore();
    file = join(store.root, 'worker.json');
    shares = [];
    lines = [];
  });
  afterEach(() => store.remove());

  const desk = (changes: RequestChanges = {}): Promise<WorkerDesk> =>
    WorkerDesk.open({
      request: aRequest({ uid: TASK, worker: 'Redis', dataset: { path: `lab/x_${DATASET}` }, ...changes }),
      file,
      progress: (share) => shares.push(share),
      log: (line) => lines.push(line),
      now: () => new Date('2026-01-01T00:00:00Z'),
    });
  const verdict = async (): Promise<string | undefined> =>
    workerFailure(await readWorkerRecord(file))?.message;

  it('hold one task, as the dispatcher of the labs would write it, and then nothing', async () => {
    const queues = await desk();
    assert.equal(await queues.pop('complete_task'), null);
    assert.deepEqual(JSON.parse((await queues.pop('run_vtc_2')) ?? ''), {
      task_id: TASK,
      dataset_uid_label: DATASET,
      operation: 'vtc_2',
      directory: null,
      resume: false,
    });
    assert.equal(await queues.pop('run_vtc_2'), null);
    assert.equal(await queues.pop('run_vtc'), null);
  });

  it('give the task once, however many ask at the same time', async () => {
    const queues = await desk();
    const given = await Promise.all(Array.from({ length: 8 }, () => queues.pop('run_vtc')));
    assert.equal(given.filter((task) => task !== null).length, 1);
  });

  it('name a directory where the worker sees it, and ELSI its own task', async () => {
    const elsi = 'ABCDEF00-0d52-4d0b-8b0d-7a8f3f9f5f11';
    const queues = await desk({
      identity: `elsi:${elsi}`,
      dataset: { path: 'plain corpus', directory: 'child 1' },
    });
    const task = JSON.parse((await queues.pop('test_model')) ?? '');
    assert.equal(task.task_id, elsi.toLowerCase());
    assert.equal(task.operation, 'test_model');
    assert.equal(task.dataset_uid_label, TASK);
    assert.equal(task.directory, `/app/datasets/${TASK}/${RECORDINGS}/child 1`);
  });

  it('give the task again to the worker of a pod that was started anew, and forget what was said before', async () => {
    const before = await desk();
    await before.pop('run_vtc');
    await before.push('fail_task', [mine({ reason: 'x' })]);
    const after = await desk();
    assert.notEqual(await after.pop('run_vtc'), null);
    assert.match((await verdict()) ?? '', /ended without reporting/);
  });

  it('take down what is said to a sidecar that was started anew', async () => {
    await (await desk()).pop('run_vtc');
    await (await desk()).push('complete_task', [mine()]);
    assert.equal(await verdict(), undefined);
  });

  it('do not give the task away when nobody could know of it', async () => {
    file = join(store.root, 'nowhere', 'worker.json');
    const queues = await desk();
    await assert.rejects(queues.pop('run_vtc'), /ENOENT/);
    await mkdir(join(store.root, 'nowhere'));
    assert.notEqual(await queues.pop('run_vtc'), null);
  });

  it('do not acknowledge what could not be written down', async () => {
    file = join(store.root, 'nowhere', 'worker.json');
    await mkdir(join(store.root, 'nowhere'));
    const queues = await desk();
    await queues.pop('run_vtc');
    await rm(join(store.root, 'nowhere'), { recursive: true });
    await assert.rejects(queues.push('complete_task', [mine()]), /ENOENT/);
    await mkdir(join(store.root, 'nowhere'));
    await queues.push('complete_task', [mine()]);
    assert.equal(await verdict(), undefined);
  });

  const said: Readonly<
    Record<
      string,
      {
        readonly messages: readonly (readonly [queue: string, message: string])[];
        verdict: RegExp | undefined;
        shares?: readonly number[];
      }
    >
  > = {
    nothing: { messages: [], verdict: /took its task from "run_vtc" and ended without reporting/ },
    completion: { messages: [['complete_task', mine()]], verdict: undefined },
    'completion, the task in capitals': {
      messages: [['complete_task', JSON.stringify({ task_id: TASK.toUpperCase() })]],
      verdict: undefined,
    },
    'a failure': {
      messages: [['fail_task', mine({ reason: 'no wav' })]],
      verdict: /the worker reported a failure: "no wav"$/,
    },
    'a failure without a reason': { messages: [['fail_task', mine()]], verdict: /"no reason was given"/ },
    'a failure whose reason is no text': {
      messages: [['fail_task', mine({ reason: 7 })]],
      verdict: /"no reason was given"/,
    },
    'two failures': {
      messages: [
        ['fail_task', mine({ reason: 'first' })],
        ['fail_task', mine({ reason: 'second' })],
      ],
      verdict: /"first"/,
    },
    'a failure, then completion': {
      messages: [
        ['fail_task', mine({ reason: 'x' })],
        ['complete_task', mine()],
      ],
      verdict: /"x"/,
    },
    'completion, then a failure': {
      messages: [
        ['complete_task', mine()],
        ['fail_task', mine({ reason: 'x' })],
      ],
      verdict: /"x"/,
    },
    'progress on the queue for completions': {
      messages: [['complete_task', mine({ progress: 0.5 })]],
      verdict: /without reporting/,
      shares: [0.5],
    },
    'progress of today on the queue for completions': {
      messages: [['complete_task', mine({ completed_progress: 1 })]],
      verdict: /without reporting/,
      shares: [1],
    },
    'progress on a queue of its own': {
      messages: [['progress', mine({ completed_progress: 0.25 })]],
      verdict: /without reporting/,
      shares: [0.25],
    },
    'progress beyond all bounds': {
      messages: [
        ['progress', mine({ completed_progress: 7 })],
        ['progress', mine({ completed_progress: -1 })],
        ['progress', mine({ completed_progress: 'x' })],
      ],
      verdict: /without reporting/,
      shares: [1, 0, 0],
    },
    'completion of another task': {
      messages: [['complete_task', JSON.stringify({ task_id: DATASET })]],
      verdict: /without reporting/,
    },
    'a failure of another task': {
      messages: [['fail_task', JSON.stringify({ task_id: DATASET, reason: 'x' })]],
      verdict: /without reporting/,
    },
    'completion on another queue': { messages: [['completed', mine()]], verdict: /without reporting/ },
    'no JSON': {
      messages: [
        ['complete_task', 'NaN'],
        ['complete_task', '{"task_id": NaN}'],
        ['complete_task', '[]'],
        ['complete_task', 'null'],
        ['complete_task', '"x"'],
      ],
      verdict: /without reporting/,
    },
  };
  for (const [what, row] of Object.entries(said))
    it(`take down ${what}`, async () => {
      const queues = await desk();
      await queues.pop('run_vtc');
      for (const [queue, message] of row.messages) await queues.push(queue, [message]);
      const found = await verdict();
      if (row.verdict === undefined) assert.equal(found, undefined);
      else assert.match(found ?? '', row.verdict);
      assert.deepEqual(shares, row.shares ?? []);
    });

  it('take several messages of one push in their order', async () => {
    const queues = await desk();
    await queues.pop('run_vtc');
    await queues.push('fail_task', [mine({ reason: 'first' }), mine({ reason: 'second' })]);
    assert.match((await verdict()) ?? '', /"first"/);
  });

  it('take down nothing from a worker that never took its task', async () => {
    await (await desk()).push('complete_task', [mine()]);
    assert.match((await verdict()) ?? '', /ended without taking its task/);
  });

  it('take progress from any channel, and nothing else', async () => {
    const queues = await desk();
    await queues.pop('run_vtc');
    queues.publish('any', mine({ completed_progress: 0.75 }));
    queues.publish('complete_task', mine());
    queues.publish('any', 'NaN');
    assert.deepEqual(shares, [0.75]);
    assert.match((await verdict()) ?? '', /without reporting/);
  });

  it('say little about what nobody understands', async () => {
    const queues = await desk();
    for (let i = 0; i < 100; i++) queues.publish('any', '?');
    assert.equal(lines.length, 20);
  });
});

describe('what a worker said', () => {
  it('is one bounded line without control characters', () => {
    assert.equal(quoted(' a\n\n\tb\u001b[31m\u202ec\u2028d" '), '"a b [31m c d\\""');
    assert.ok(quoted('日'.repeat(5000)).length <= 402);
  });

  it('is refused when its record is damaged', async () => {
    const store = await aStore();
    const file = join(store.root, 'worker.json');
    for (const text of ['', '{', '{"v":2}']) {
      await writeFile(file, text);
      await assert.rejects(readWorkerRecord(file), /is damaged/);
    }
    await store.remove();
  });
});
