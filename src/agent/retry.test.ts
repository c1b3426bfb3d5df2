import fc from 'fast-check';
import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import {
  appendFile,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { AgentReport, AgentRequest } from '../api/request.ts';
import { EXIT } from '../api/request.ts';
import { observe } from './observe.ts';
import { recheckOutputs } from './recheck.ts';
import { aRequest, aStore, RECORDINGS, wav } from './testing/fixtures.ts';
import type { RequestChanges, StepOutcome, TestPod, TestStore } from './testing/fixtures.ts';
import { readPlan, readRecords } from './testing/staged.ts';

/** Fails on an input that holds the word "bad", or has a lock beside it. */
const model = (...more: readonly string[]): string[] => [
  'sh',
  '-c',
  `if grep -q bad "$1" || [ -e "$1.lock" ]; then exit 3; fi; echo "SPEAKER $2 1 0.00 0.10 <NA> <NA> CHI <NA> <NA>" >"$3"`,
  'model',
  '{input}',
  '{stem}',
  '{output}',
  ...more,
];
const COMMAND = model();
const BAD = Buffer.concat([wav(), Buffer.from('bad')]);

const manifestOf = z.object({
  retryOf: z.object({ uid: z.string(), outputName: z.string().optional() }).optional(),
  summary: z.object({ retried: z.object({ copied: z.int(), rerun: z.int() }).optional() }),
  units: z.array(
    z.object({
      name: z.string(),
      outcome: z.string(),
      from: z.string().optional(),
      rerun: z.string().optional(),
    }),
  ),
});

type RetryOf = NonNullable<AgentRequest['retryOf']>;

/** What the operator knows of a task that published. */
function factsOf(uid: string, { result }: AgentReport): RetryOf {
  assert.ok(result);
  const outputName = result.path.split('/').at(-1) ?? '';
  return { name: uid, uid, identity: uid, outputName, manifestSha256: result.manifestSha256 };
}

/** A task of this dataset: its uid is also the name of its outputs. */
function taskOf(uid: string, changes: RequestChanges = {}): AgentRequest {
  return aRequest({ command: COMMAND, uid, outputName: uid, maxFailedUnits: 5, ...changes });
}

/** Names of the inputs that the model worked on in a pod. */
async function started(pod: TestPod): Promise<string[]> {
  const plan = await readPlan(join(pod.staging, 'plan.json'));
  const markers = (await readdir(join(pod.staging, 'ctl'))).filter((name) => name.endsWith('.start'));
  const ids = new Set(markers.map((name) => name.slice(0, -6)));
  return (plan?.units ?? []).filter(({ id }) => ids.has(id)).map(({ name }) => name);
}

/** Lets observe record what the loop finished. */
async function record(pod: TestPod, request: AgentRequest, count: number): Promise<void> {
  const stop = new AbortController();
  const watching = observe(request, pod.options({ signal: stop.signal, scanIntervalMs: 1 }));
  for (let tries = 0; tries < 1000; tries++) {
    if ((await readRecords(join(pod.staging, 'units.jsonl'))).size >= count) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stop.abort();
  await watching;
}

async function manifest(store: TestStore, name: string): Promise<z.output<typeof manifestOf>> {
  return manifestOf.parse(JSON.parse(await store.text(`outputs/${name}/manifest.json`)));
}

async function drift(store: TestStore, name: string): Promise<string[]> {
  const found: string[] = [];
  await recheckOutputs(store.path('outputs', name), {
    concurrency: 1,
    onDrift: ({ path, detail }) => found.push(`${path} ${detail}`),
  });
  return found;
}

interface Ran {
  readonly prepared: StepOutcome;
  readonly published: StepOutcome;
  readonly ran: readonly string[];
}

/** Runs a pod and tells which inputs the model worked on. */
async function run(store: TestStore, request: AgentRequest, podUid = 'pod-1'): Promise<Ran> {
  const pod = store.pod(request, podUid);
  const prepared = await pod.step('prepare');
  assert.equal(prepared.code, EXIT.ok, prepared.report.message);
  await pod.loop();
  const ran = await started(pod);
  return { prepared, published: await pod.step('publish'), ran };
}

describe('a retry of a task that published a part', () => {
  let store: TestStore;
  let facts: RetryOf;
  beforeEach(async () => {
    store = await aStore();
    for (const name of ['a', 'c']) await store.put(`${RECORDINGS}/${name}.wav`);
    await store.put(`${RECORDINGS}/b.wav`, BAD);
    const { published } = await run(store, taskOf('first'));
    assert.deepEqual(published.report.units, { total: 3, done: 2, failed: 1, reused: 0 });
    facts = factsOf('first', published.report);
    await store.put(`${RECORDINGS}/b.wav`, wav());
  });
  afterEach(() => store.remove());

  const output = (name: string): string => store.path('outputs/first/raw', `${name}.rttm`);
  const retry = (changes: RequestChanges = {}): Promise<Ran> =>
    run(store, taskOf('second', { retryOf: facts, ...changes }));

  it('runs the failed unit only, and publishes a whole result that says where each unit came from', async () => {
    const { ran, published } = await retry();
    assert.deepEqual(ran, ['b.wav']);
    assert.deepEqual(published.report.units, { total: 3, done: 3, failed: 0, reused: 2 });
    assert.match(published.report.message, /; 2 copied from the task that is retried$/);
    const { units, retryOf } = await manifest(store, 'second');
    assert.deepEqual(retryOf, { uid: 'first', outputName: 'first' });
    assert.deepEqual(
      units.map(({ name, outcome, from }) => [name, outcome, from]),
      [
        ['a.wav', 'Reused', 'first'],
        ['b.wav', 'Done', undefined],
        ['c.wav', 'Reused', 'first'],
      ],
    );
    assert.deepEqual(await drift(store, 'second'), []);
    assert.deepEqual(await drift(store, 'first'), [], 'the earlier result stays as it was');
  });

  it('runs a failed unit whose input is the same, and does not call that a change', async () => {
    await store.put(`${RECORDINGS}/d.wav`);
    await store.put(`${RECORDINGS}/d.wav.lock`, '');
    const second = await retry();
    assert.equal(second.published.report.units?.failed, 1);
    await unlink(store.path(RECORDINGS, 'd.wav.lock'));
    const third = await run(store, taskOf('third', { retryOf: factsOf('second', second.published.report) }));
    assert.deepEqual(third.ran, ['d.wav']);
    assert.equal((await manifest(store, 'third')).units.at(-1)?.rerun, undefined);
  });

  it('copies: no file is shared with the earlier result', async () => {
    await retry();
    const inodes = await Promise.all(
      ['first', 'second'].map((name) => stat(store.path('outputs', name, 'raw/a.rttm'))),
    );
    assert.notEqual(inodes[0]?.ino, inodes[1]?.ino);
    assert.equal(inodes[1]?.nlink, 1);
  });

  it('publishes without running anything when nothing is left to run', async () => {
    const second = await retry();
    const { ran, published } = await run(
      store,
      taskOf('third', { retryOf: factsOf('second', second.published.report) }),
    );
    assert.deepEqual(ran, []);
    assert.equal(published.code, EXIT.ok);
    assert.deepEqual(published.report.units, { total: 3, done: 3, failed: 0, reused: 3 });
    assert.deepEqual(await drift(store, 'third'), []);
  });

  it('can be retried itself: each task runs what none before it finished', async () => {
    await store.put(`${RECORDINGS}/d.wav`, BAD);
    const second = await retry();
    assert.deepEqual(second.ran, ['b.wav', 'd.wav']);
    await store.put(`${RECORDINGS}/d.wav`, wav(0.2));
    const third = await run(store, taskOf('third', { retryOf: factsOf('second', second.published.report) }));
    assert.deepEqual(third.ran, ['d.wav']);
    const { units } = await manifest(store, 'third');
    assert.deepEqual(
      units.map(({ from }) => from),
      ['second', 'second', 'second', undefined],
    );
    assert.deepEqual(await drift(store, 'third'), []);
  });

  it('keeps what its own first attempt copied, whatever becomes of the earlier result', async () => {
    const request = taskOf('second', { retryOf: facts });
    await store.pod(request, 'pod-1').step('prepare');
    await rm(store.path('outputs/first'), { recursive: true });
    const { ran, prepared } = await run(store, request, 'pod-2');
    assert.deepEqual(ran, ['b.wav']);
    assert.match(prepared.log.join('\n'), /nothing is reused from outputs\/first.*not there any more/);
    assert.equal((await manifest(store, 'second')).units[0]?.from, 'first');
  });

  it('copies from the earlier task although its own attempts keep nothing', async () => {
    assert.deepEqual((await retry({ resume: false })).ran, ['b.wav']);
  });

  it('runs a unit again whose file was changed since, and says so', async () => {
    const text = await readFile(output('a'), 'utf8');
    await writeFile(output('a'), text.replace('CHI', 'FEM'));
    const { ran, prepared, published } = await retry();
    assert.deepEqual(ran, ['a.wav', 'b.wav']);
    assert.equal(await store.text('outputs/second/raw/a.rttm'), text);
    const why = '"raw/a.rttm" is no longer what it was in outputs/first';
    assert.equal((await manifest(store, 'second')).units[0]?.rerun, why);
    assert.ok(
      prepared.report.message.includes(`1 run again: "a.wav" because ${why}`),
      prepared.report.message,
    );
    assert.match(
      published.report.message,
      /; 1 copied .*, 1 run again because their files had changed there/,
    );
  });

  const all = ['a.wav', 'b.wav', 'c.wav'];
  const worthless: Readonly<Record<string, readonly [() => Promise<unknown>, RegExp]>> = {
    'whose manifest was edited': [
      () => appendFile(store.path('outputs/first/manifest.json'), '\n'),
      /manifest\.json is not the one that was published/,
    ],
    'whose manifest is gone': [
      () => unlink(store.path('outputs/first/manifest.json')),
      /holds no manifest\.json/,
    ],
    'in whose place stands a link': [
      async () => {
        await rename(store.path('outputs/first'), store.path('elsewhere'));
        await symlink(store.path('elsewhere'), store.path('outputs/first'));
      },
      /a link stands in its place/,
    ],
    'in whose place another task published': [
      async () => {
        facts = { ...facts, identity: 'somebody', manifestSha256: undefined };
      },
      /another task has published there/,
    ],
  };
  for (const [which, [spoil, why]] of Object.entries(worthless)) {
    it(`takes nothing from a result ${which}, and says so`, async () => {
      await spoil();
      const { ran, prepared, published } = await retry();
      assert.match(prepared.log.join('\n'), why);
      assert.deepEqual(ran, all);
      assert.equal(published.report.units?.done, 3);
    });
  }

  const otherWork: Readonly<Record<string, RequestChanges>> = {
    'another parameter': { parameters: { t: '2' } },
    'another command': { command: model('x') },
    'another output': { outputs: [{ path: 'raw/{stem}.txt' }] },
  };
  for (const [what, changes] of Object.entries(otherWork)) {
    it(`takes nothing that was made with ${what}`, async () => {
      assert.deepEqual((await retry(changes)).ran, all);
    });
  }

  it('refuses a name of outputs that would lead out of the dataset', async () => {
    facts = { ...facts, outputName: '../../../secret' };
    const { code, report } = await store.pod(taskOf('second', { retryOf: facts })).step('prepare');
    assert.equal(code, EXIT.invalidInput);
    assert.match(report.message, /retryOf\.outputName/);
  });
});

describe('a retry of a task that published nothing', () => {
  let store: TestStore;
  const first = taskOf('first', { maxFailedUnits: 0 });
  const facts: RetryOf = { name: 'first', uid: 'first', identity: 'first' };
  const staging = (): string => store.path('outputs/.staging/first');
  beforeEach(async () => {
    store = await aStore();
    for (const name of ['a', 'c']) await store.put(`${RECORDINGS}/${name}.wav`);
    await store.put(`${RECORDINGS}/b.wav`, BAD);
    const pod = store.pod(first, 'pod-9');
    await pod.step('prepare');
    await pod.loop();
    await record(pod, first, 2);
    assert.equal((await pod.step('publish')).report.category, 'ModelError');
    await store.put(`${RECORDINGS}/b.wav`, wav());
  });
  afterEach(() => store.remove());

  it('copies what stands in its staging', async () => {
    const { ran, published } = await run(store, taskOf('second', { retryOf: facts }));
    assert.deepEqual(ran, ['b.wav']);
    assert.deepEqual(published.report.units, { total: 3, done: 3, failed: 0, reused: 2 });
    assert.deepEqual(await drift(store, 'second'), []);
    assert.deepEqual(
      (await manifest(store, 'second')).units.map(({ from }) => from),
      ['first', undefined, 'first'],
    );
  });

  it('runs everything once its staging was swept', async () => {
    await rm(staging(), { recursive: true });
    assert.deepEqual((await run(store, taskOf('second', { retryOf: facts }))).ran, [
      'a.wav',
      'b.wav',
      'c.wav',
    ]);
  });

  it('takes nothing through a link in the place of its staging', async () => {
    await rename(staging(), store.path('elsewhere'));
    await symlink(store.path('elsewhere'), staging());
    assert.equal((await run(store, taskOf('second', { retryOf: facts }))).ran.length, 3);
  });
});

/** What may happen to one unit between the two tasks. */
const FATES = [
  'nothing',
  'input touched',
  'input replaced',
  'output changed',
  'output cut',
  'output gone',
  'output linked',
] as const;
type Fate = (typeof FATES)[number];

async function befall(store: TestStore, name: string, fate: Fate): Promise<void> {
  const input = store.path(RECORDINGS, `${name}.wav`);
  const output = store.path('outputs/first/raw', `${name}.rttm`);
  const text = await readFile(output, 'utf8');
  if (fate === 'input touched') await utimes(input, 1, 1);
  if (fate === 'input replaced') await store.put(`${RECORDINGS}/${name}.wav`, wav(0.3));
  if (fate === 'output changed') await writeFile(output, text.replace('CHI', 'MAL'));
  if (fate === 'output cut') await writeFile(output, text.slice(0, -4));
  if (fate === 'output gone' || fate === 'output linked') await unlink(output);
  if (fate === 'output linked') {
    await store.put(`same-${name}.rttm`, text);
    await symlink(store.path(`same-${name}.rttm`), output);
  }
}

describe('whatever happens between a task and its retry', () => {
  it('exactly the untouched units are copied, and the result is whole and true', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...FATES), { minLength: 1, maxLength: 6 }), async (fates) => {
        const store = await aStore();
        try {
          const units = fates.map((fate, index) => ({ name: `u${index}`, fate }));
          for (const { name } of units) await store.put(`${RECORDINGS}/${name}.wav`);
          const { published } = await run(store, taskOf('first'));
          const before = await contents(store, 'first', units);
          for (const { name, fate } of units) await befall(store, name, fate);
          const request = taskOf('second', { retryOf: factsOf('first', published.report) });
          const { ran, published: again } = await run(store, request);
          const hit = units.filter(({ fate }) => fate !== 'nothing').map(({ name }) => `${name}.wav`);
          assert.deepEqual(ran, hit);
          assert.equal(again.report.units?.done, units.length);
          assert.deepEqual(await contents(store, 'second', units), before);
          assert.deepEqual(await drift(store, 'second'), []);
        } finally {
          await store.remove();
        }
      }),
      { numRuns: 25 },
    );
  }).timeout(60_000);
});

function contents(store: TestStore, name: string, units: readonly { name: string }[]): Promise<string[]> {
  return Promise.all(units.map((unit) => store.text(`outputs/${name}/raw/${unit.name}.rttm`)));
}
