import assert from 'node:assert/strict';
import { appendFile, chmod, lstat, rm, stat as follow, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { atOnce, type Scenarios } from './support/at-once.ts';
import { endOf, type Settled, settled, staging } from './support/oracle.ts';
import { fileModel, openGate, wholeModel } from './support/scripts.ts';
import { OWNER } from './support/site.ts';
import { dataset, model, onStore, read, stat, task, until } from './support/work.ts';

const STANDARD = 'recordings/converted/standard';

interface Bad {
  readonly file: string;
  readonly content?: Buffer;
  /** What else has to be done to it. */
  readonly spoil?: (file: string) => Promise<void>;
  readonly says: RegExp;
}

/** A recording that no model can work on, and what is said of it. */
const BAD: Readonly<Record<string, Bad>> = {
  'of 8 kHz instead of 16': {
    file: 'phone.wav',
    content: wav(0.1, { sampleRate: 8000 }),
    says: /phone\.wav.* has a sample rate of 8000 Hz instead of 16000 Hz: convert it \(sox IN -r 16000 OUT\)/,
  },
  'in stereo': {
    file: 'stereo.wav',
    content: wav(0.1, { channels: 2 }),
    says: /stereo\.wav.* has 2 channels instead of 1: convert it \(sox IN -c 1 OUT\)/,
  },
  'of zero bytes': { file: 'zero.wav', content: Buffer.alloc(0), says: /zero\.wav.* is empty \(0 bytes\)/ },
  'that is a header and nothing else': {
    file: 'header.wav',
    content: wav(0),
    says: /header\.wav.* has a header but no audio behind it/,
  },
  'that the uid of the pod may not read': {
    file: 'secret.wav',
    spoil: async (file) => {
      await chmod(file, 0o000);
    },
    says: new RegExp(`secret\\.wav.* may not be read by uid ${OWNER.uid}: make it readable`),
  },
  'that is a link to itself': {
    file: 'loop.wav',
    spoil: async (file) => {
      await rm(file);
      await symlink('loop.wav', file);
    },
    says: /loop\.wav.* is a broken link: repair it/,
  },
  'that links to a file outside of the dataset': {
    file: 'leak.wav',
    spoil: async (file) => {
      await rm(file);
      await symlink('/etc/passwd', file);
    },
    says: /leak\.wav.* is a (link out of the dataset|broken link)/,
  },
  'with a name to which no output can be named': {
    file: `${'n'.repeat(251)}.wav`,
    says: /n+\.wav.* has a segment of 256 bytes; file systems allow 255/,
  },
};

async function spoilt(name: string, rows: readonly Bad[]): Promise<void> {
  const files = Object.fromEntries(rows.map(({ file, content = wav() }) => [file, content]));
  await dataset(name, { 'good.wav': wav(), ...files });
  for (const { file, spoil } of rows) await spoil?.(onStore(join(name, STANDARD, file)));
}

const rows = Object.entries(BAD);
const UNUSABLE: Scenarios = {
  ...Object.fromEntries(
    rows.map(([what, row], index) => [
      `${what}: the task fails before a model runs`,
      async () => {
        const name = `bad-${index}`;
        await spoilt(name, [row]);
        await task(name, { model: await model(name), dataset: { path: name } });
        const { status, task: ended } = await settled(name);
        assert.equal(endOf(status), 'Failed/InvalidInput', status.message);
        assert.match(status.message ?? '', row.says);
        assert.equal(status.startedAt, undefined, 'no model ran');
        assert.deepEqual(await staging(ended), []);
      },
    ]),
  ),
  'any of these, where the model may lose as many: the good one is published, and the manifest names each':
    async () => {
      const name = 'bad-all';
      await spoilt(name, Object.values(BAD));
      const lenient = await model(name, { failure: { maxAttempts: 1, maxFailedUnits: rows.length } });
      await task(name, { model: lenient, dataset: { path: name } });
      const { status, manifest } = await settled(name);
      assert.equal(endOf(status), 'PartiallySucceeded/UnitsFailed', status.message);
      assert.equal(status.progress?.summary, `1/${rows.length + 1}`);
      assert.deepEqual(
        manifest?.outputs.map(({ path }) => path),
        ['raw/good.rttm'],
      );
      const told = manifest?.units
        .map(({ name: unit, reason }) => `${unit} ${reason ?? 'is good'}`)
        .join('\n');
      for (const { says } of Object.values(BAD)) assert.match(told ?? '', says);
    },
  'a directory that links to its own parent is passed over, and the task succeeds': async () => {
    const name = 'circle';
    await dataset(name, { 'child/a.wav': wav() });
    await symlink('..', onStore(join(name, STANDARD, 'child/up')));
    await task(name, { model: await model(name), dataset: { path: name } });
    const { status, manifest } = await settled(name);
    assert.equal(endOf(status), 'Succeeded/Published', status.message);
    assert.deepEqual(
      manifest?.outputs.map(({ path }) => path),
      ['raw/child/a.rttm'],
    );
  },
};

/** Recordings whose names are odd and good. */
const NAMES: Readonly<Record<string, string>> = {
  'of 250 bytes': `${'x'.repeat(246)}.wav`,
  'of 250 bytes in characters of three': `${'語'.repeat(82)}.wav`,
  'with a new line': 'two\nlines.wav',
  'that a shell would run': '$(touch ran) `touch ran`; touch ran.wav',
  'with a quote': `it's "so".wav`,
  'of an option': '-rf.wav',
  'with what kubelet would expand': '$(POD_UID) $HOME ${HOME} {output}.wav',
  'with a tab, a backslash and a carriage return': 'a\tb\\n\rc.wav',
  'with blanks at its ends': ' a .wav',
};

/** One task for all of them; its end is looked at once per name. */
let analysed: Promise<Settled> | undefined;

async function analyseNames(): Promise<Settled> {
  await dataset('names-odd', Object.fromEntries(Object.values(NAMES).map((name) => [name, wav()])));
  // The output tells which file the model really opened.
  const script =
    'good "$2"; printf ";; %s\\n" "$(printf %s "${1##*/}" | od -An -v -tx1 | tr -d " \\n")" >>"$2"';
  await task('names-odd', { model: await fileModel('names-odd', script), dataset: { path: 'names-odd' } });
  return settled('names-odd');
}

async function isAnalysed(name: string): Promise<void> {
  const { status, manifest } = await (analysed ??= analyseNames());
  assert.equal(endOf(status), 'Succeeded/Published', status.message);
  const path = `raw/${name.slice(0, -'.wav'.length)}.rttm`;
  assert.ok(
    manifest?.outputs.some((output) => output.path === path),
    path,
  );
  const text = await read(`names-odd/outputs/names-odd/${path}`);
  assert.match(text, new RegExp(`^;; ${Buffer.from(name).toString('hex')}$`, 'm'));
  assert.deepEqual(manifest?.extra, { count: 0, paths: [] }, 'nothing but outputs is written');
  assert.equal(manifest.outputs.length, Object.keys(NAMES).length);
}

const ODD_NAMES: Scenarios = Object.fromEntries(
  Object.entries(NAMES).map(([what, name]) => [`${what} is analysed as it is`, () => isAnalysed(name)]),
);

const CHANGES: Scenarios = {
  'what grew, was replaced or went is named in the manifest; what came later is not analysed': async () => {
    const name = 'moving';
    await dataset(name, { 'a.wav': wav(), 'b.wav': wav(), 'c.wav': wav(), 'same.wav': wav() });
    const script = 'gate go; for f in a b c same; do good "$2/raw/$f.rttm"; done';
    await task(name, { model: await wholeModel(name, script), dataset: { path: name } });
    await until(name, 'Running', ({ phase }) => phase === 'Running');
    const at = (file: string): string => onStore(join(name, STANDARD, file));
    await appendFile(at('a.wav'), 'more');
    await rm(at('b.wav'));
    await rm(at('c.wav'));
    await dataset(name, { 'c.wav': wav(), 'later.wav': wav() });
    await openGate(name, 'go');
    const { status, manifest } = await settled(name);
    assert.equal(endOf(status), 'Succeeded/Published', status.message);
    assert.deepEqual(manifest?.changedInputs, { count: 3, paths: ['a.wav', 'b.wav', 'c.wav'] });
    assert.deepEqual(
      manifest?.units.map(({ name: unit }) => unit),
      ['a.wav', 'b.wav', 'c.wav', 'same.wav'],
    );
  },
  'a recording that goes before its turn is lost alone': async () => {
    const name = 'vanishing';
    await dataset(name, { 'a.wav': wav(), 'b.wav': wav(), 'c.wav': wav() });
    const script = 'case $1 in *a.wav) gate go;; esac; cat "$1" >/dev/null && good "$2"';
    const failure = { maxAttempts: 1, maxFailedUnits: 1 };
    await task(name, { model: await fileModel(name, script, { failure }), dataset: { path: name } });
    await until(name, 'Running', ({ phase }) => phase === 'Running');
    await rm(onStore(join(name, STANDARD, 'b.wav')));
    await openGate(name, 'go');
    const { status, manifest } = await settled(name);
    assert.equal(endOf(status), 'PartiallySucceeded/UnitsFailed', status.message);
    assert.deepEqual(manifest?.changedInputs, { count: 1, paths: ['b.wav'] });
    assert.deepEqual(
      manifest?.outputs.map(({ path }) => path),
      ['raw/a.rttm', 'raw/c.rttm'],
    );
  },
  'cannot be changed by the model itself': async () => {
    const name = 'sealed';
    await dataset(name, { 'a.wav': wav() });
    const file = onStore(join(name, STANDARD, 'a.wav'));
    const original = await follow(file);
    const tries =
      'echo x >>"$1/a.wav"; rm -f "$1/a.wav"; touch /data/new; mkdir /data/outputs/mine; chmod 0 "$1/a.wav"';
    await task(name, {
      model: await wholeModel(name, `( ${tries} ) 2>/dev/null; good "$2/raw/a.rttm"`),
      dataset: { path: name },
    });
    const { status, manifest } = await settled(name);
    assert.equal(endOf(status), 'Succeeded/Published', status.message);
    assert.deepEqual(manifest?.changedInputs, { count: 0, paths: [] });
    const { ino, size, mtimeMs, mode } = await follow(file);
    assert.deepEqual(
      [ino, size, mtimeMs, mode],
      [original.ino, original.size, original.mtimeMs, original.mode],
    );
    await assert.rejects(lstat(onStore(`${name}/new`)), { code: 'ENOENT' });
    await assert.rejects(stat(`${name}/outputs/mine`), { code: 'ENOENT' });
  },
};

atOnce('what a model is given', {
  'a recording that cannot be analysed': UNUSABLE,
  'a dataset that changes while the task runs': CHANGES,
  'a recording with a name': ODD_NAMES,
});
