import assert from 'node:assert/strict';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { atOnce, type Scenarios } from './support/at-once.ts';
import { endOf, settled, staging } from './support/oracle.ts';
import { fileModel, patchTask, podOf, wholeModel } from './support/scripts.ts';
import { dataset, get, podsOf, task, until } from './support/work.ts';

/** What a code of the model's own process means. 42 is the agent's word for "published already", and only the agent's. */
const CODES: Readonly<Record<number, { readonly reason: string; readonly message: RegExp }>> = {
  1: { reason: 'ModelError', message: /exit code 1: no weights/ },
  2: { reason: 'ModelError', message: /exit code 2: no weights/ },
  42: { reason: 'ModelError', message: /exit code 42: no weights/ },
  126: { reason: 'ModelError', message: /exit code 126: no weights/ },
  127: { reason: 'ModelError', message: /exit code 127: no weights/ },
  137: { reason: 'OutOfMemory', message: /resources\.memory/ },
  139: { reason: 'ModelError', message: /exit code 139: no weights/ },
  143: { reason: 'ModelError', message: /exit code 143: no weights/ },
};

/** Writes everything that it promises, and then ends with a code: the outputs do not count. */
async function endsWith(code: number): Promise<void> {
  const name = `code-${code}`;
  await dataset(name, { 'a.wav': wav() });
  const model = await wholeModel(name, `good "$2/raw/a.rttm"; echo "no weights"; exit ${code}`);
  await task(name, { model, dataset: { path: name } });
  const { status, task: ended } = await settled(name);
  assert.equal(endOf(status), `Failed/${CODES[code]?.reason}`, status.message);
  assert.match(status.message ?? '', CODES[code]?.message ?? /^$/);
  assert.ok(
    (await staging(ended)).some((file) => file.endsWith('out/raw/a.rttm')),
    'kept until it is swept',
  );
}

const codes = Object.keys(CODES).map(Number);
const EXITS: Scenarios = {
  ...Object.fromEntries(
    codes.map((code) => [
      `${code} over a whole dataset: ${CODES[code]?.reason}, though its outputs are there`,
      () => endsWith(code),
    ]),
  ),
  'each of them for one file of many: the others are published, and the manifest says why': async () => {
    const name = 'codes';
    const files = [...codes.map((code) => `${code}.wav`), 'good.wav'];
    await dataset(name, Object.fromEntries(files.map((file) => [file, wav()])));
    const script = 'good "$2"; n=${1##*/}; n=${n%.wav}; [ "$n" = good ] || exit "$n"';
    const model = await fileModel(name, script, { failure: { maxFailedUnits: codes.length } });
    await task(name, { model, dataset: { path: name } });
    const { status, manifest } = await settled(name);
    assert.equal(endOf(status), 'PartiallySucceeded/UnitsFailed', status.message);
    assert.equal(status.progress?.summary, '1/9');
    assert.deepEqual(
      manifest?.outputs.map(({ path }) => path),
      ['raw/good.rttm'],
    );
    const told = manifest?.units.map(
      ({ name: unit, exitCode, category = 'Done' }) => `${unit} ${exitCode} ${category}`,
    );
    const expected = [
      ...codes.map((code) => `${code}.wav ${code} ${CODES[code]?.reason}`),
      'good.wav 0 Done',
    ];
    assert.deepEqual(told, expected.toSorted());
  },
  'by a real signal: a crash of one process of a pipeline': async () => {
    const name = 'crash';
    await dataset(name, { 'a.wav': wav() });
    const model = await fileModel(name, `good "$2"; exec sh -c 'kill -SEGV $$'`);
    await task(name, { model, dataset: { path: name } });
    const { status } = await settled(name);
    assert.equal(endOf(status), 'Failed/ModelError', status.message);
    assert.match(status.message ?? '', /exit code 139 \(the model crashed with a segmentation fault\)/);
  },
  'never, and ignores SIGTERM: a cancelled task ends after its grace': async () => {
    const name = 'deaf';
    await dataset(name, { 'a.wav': wav() });
    const run = { terminationGracePeriodSeconds: 2 };
    const model = await wholeModel(name, 'trap "" TERM; good "$2/raw/a.rttm"; gate never', { run });
    await task(name, { model, dataset: { path: name } });
    await until(name, 'Running', ({ phase }) => phase === 'Running');
    await patchTask(name, { desired: 'Cancel' });
    const { status, task: ended } = await settled(name);
    assert.equal(endOf(status), 'Cancelled/Cancelled', status.message);
    assert.deepEqual(await podsOf(ended.metadata.uid), []);
  },
};

/** Longest status that a task may have, in bytes of JSON. */
const STATUS_BYTES = 8192;

async function statusBytes(name: string): Promise<number> {
  return Buffer.byteLength(JSON.stringify((await get(name))?.status));
}

async function said(name: string, script: string) {
  await dataset(name, { 'a.wav': wav() });
  await task(name, { model: await wholeModel(name, script), dataset: { path: name } });
  const { status } = await settled(name);
  assert.ok((await statusBytes(name)) < STATUS_BYTES);
  return status;
}

const flood = 'yes "a line that nobody will read" | head -c 40000000;';
const TOO_MUCH: Scenarios = {
  '40 MB of log, and then a good end: Succeeded': async () => {
    const status = await said('flood', `${flood} good "$2/raw/a.rttm"`);
    assert.equal(endOf(status), 'Succeeded/Published', status.message);
  },
  '40 MB of log, and then an error: its last line is told, and the status stays small': async () => {
    const status = await said('flood-fail', `${flood} echo; echo "and now the reason"; exit 3`);
    assert.equal(endOf(status), 'Failed/ModelError');
    assert.match(status.message ?? '', /exit code 3: and now the reason/);
  },
  'a termination message of 8 KiB with quotes, new lines and bytes that are no text: cut, and harmless':
    async () => {
      const words = `printf '"}\\n\\377\\000\\033[31m%s' "$(yes '"{[' | head -c 8192)" >/dev/termination-log; exit 3`;
      const status = await said('chatty', words);
      assert.equal(endOf(status), 'Failed/ModelError');
      assert.match(status.message ?? '', /^The model ended with exit code 3: /);
      assert.ok((status.message ?? '').length <= 500);
    },
  "a report in the words of the agent, with the agent's exit codes: the model's word is none": async () => {
    const report = JSON.stringify({
      v: 1,
      message: 'published',
      units: { total: 1, done: 1, failed: 0, reused: 0 },
      result: { path: 'forged/outputs/forged', manifestSha256: 'x', files: 1, bytes: 1 },
    });
    const status = await said('forged', `echo '${report}' >/dev/termination-log; exit 42`);
    assert.equal(endOf(status), 'Failed/ModelError');
    assert.equal(status.result, undefined);
    await podOf('forged');
  },
};

atOnce('what a model says at its end', {
  'G11 the model ends with an exit code': EXITS,
  'G13 the model says too much': TOO_MUCH,
});
