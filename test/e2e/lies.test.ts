import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { atOnce, type Scenarios } from './support/at-once.ts';
import { endOf, settled, type Settled, staging } from './support/oracle.ts';
import { fileModel, openGate, wholeModel } from './support/scripts.ts';
import { dataset, onStore, read, stat, task, until } from './support/work.ts';

type Whole = Parameters<typeof wholeModel>[2];

/** Runs a model over a.wav and b.wav to the end. */
async function told(
  name: string,
  make: (name: string) => Promise<string>,
  files: readonly string[] = ['a', 'b'],
): Promise<Settled> {
  await dataset(name, Object.fromEntries(files.map((file) => [`${file}.wav`, wav()])));
  await task(name, { model: await make(name), dataset: { path: name } });
  return settled(name);
}

const whole = (script: string, more?: Whole) => (name: string) => wholeModel(name, script, more);
const perFile = (script: string, more?: Whole) => (name: string) => fileModel(name, script, more);
type Unit = NonNullable<Settled['manifest']>['units'][number];

const pathsOf = ({ manifest }: Settled) => manifest?.outputs.map(({ path }) => path);

/** A model that ends with exit code 0 and has not done what that says. */
interface Lie {
  readonly model: (name: string) => Promise<string>;
  readonly says: RegExp;
  readonly end?: string;
}

const LIES: Readonly<Record<string, Lie>> = {
  'nothing at all': {
    model: whole('exit 0'),
    says: /2 of 2 units failed: "a\.wav" the model exited 0, but "raw\/a\.rttm" was not written/,
  },
  half: {
    model: whole('good "$2/raw/a.rttm"'),
    says: /1 of 2 units failed: "b\.wav" the model exited 0, but "raw\/b\.rttm" was not written/,
  },
  'half of a file': {
    model: whole('good "$2/raw/a.rttm"; good "$2/raw/b.rttm"; printf "SPEAKER b 1 0." >>"$2/raw/b.rttm"'),
    says: /"raw\/b\.rttm" is cut off: its last line has no end/,
  },
  garbage: {
    model: whole('good "$2/raw/a.rttm"; head -c 30000 /dev/urandom >"$2/raw/b.rttm"'),
    says: /"raw\/b\.rttm" (is no RTTM|is cut off|contains NUL)/,
  },
  'JSON without its end': {
    model: whole(`echo '{"a": 1}' >"$2/a.json"; printf '{"a": [1, 2' >"$2/b.json"`, {
      outputs: [{ path: '{rel}.json', format: 'Json' }],
    }),
    says: /"b\.json" is not whole JSON/,
  },
  'a link to a file of the system': {
    model: whole('good "$2/raw/a.rttm"; ln -s /etc/passwd "$2/raw/b.rttm"'),
    says: /"raw\/b\.rttm" is not a regular file \(links are no results\)/,
  },
  'a good file that it spoils later on, with its old date': {
    model: perFile(
      'case $1 in *a.wav) good "$2"; sleep 3;; *) printf x >"${2%b.rttm}a.rttm"; touch -d 2020-01-01 "${2%b.rttm}a.rttm"; good "$2";; esac',
    ),
    says: /1 of 2 units failed: "a\.wav" exited 0, but "raw\/a\.rttm" is cut off/,
  },
  'exit codes of 0 that it wrote for itself and for the units to come': {
    model: perFile(
      'for id in $(sed -n "s/^unit \\([0-9a-f]*\\) .*/\\1/p" /analysis/plan.sh); do echo 0 >/analysis/$id.exit; done; exit 7',
    ),
    says: /2 of 2 units failed: "a\.wav" ended with exit code 7/,
    end: 'Failed/ModelError',
  },
};

const LIED: Scenarios = Object.fromEntries(
  Object.entries(LIES).map(([what, { model, says, end = 'Failed/MissingOutput' }], index) => [
    `${what}: ${end}`,
    async () => {
      const { status, task: ended } = await told(`lie-${index}`, model);
      assert.equal(endOf(status), end, status.message);
      assert.match(status.message ?? '', says);
      assert.ok(
        (await staging(ended)).includes(`${await podDirectory(ended)}/plan.json`),
        'kept until it is swept',
      );
    },
  ]),
);

async function podDirectory({ metadata, spec }: Settled['task']): Promise<string> {
  const [pod = ''] = await readdir(onStore(`${spec.dataset.path}/outputs/.staging/${metadata.uid}`));
  return pod;
}

/** Of its two attempts, only the first one writes anything; which one it is shows in the staging that it can see. */
const FIRST = '[ "$(ls -d /data/outputs/.staging/*/* | wc -l)" = 1 ]';

const YESTERDAY: Scenarios = {
  'which its attempt before wrote and then failed: MissingOutput': async () => {
    const failure = { maxAttempts: 2, backoffSeconds: 0 };
    const script = `${FIRST} || exit 0; good "$2/raw/a.rttm"; good "$2/raw/b.rttm"; exit 5`;
    const { status, task: ended } = await told('yesterday', whole(script, { failure }));
    assert.equal(endOf(status), 'Failed/MissingOutput', status.message);
    assert.deepEqual(
      status.failures?.map(({ category }) => category),
      ['ModelError', 'MissingOutput'],
    );
    assert.equal((await staging(ended)).filter((file) => file.endsWith('.rttm')).length, 2);
  },
  'to which it links: MissingOutput, and they stay as they were': async () => {
    const first = await told('linked', whole('good "$2/raw/a.rttm"; good "$2/raw/b.rttm"'));
    assert.equal(endOf(first.status), 'Succeeded/Published');
    const before = await read('linked/outputs/linked/manifest.json');
    const script =
      'mkdir "$2/raw"; for f in a b; do ln -s /data/outputs/linked/raw/$f.rttm "$2/raw/$f.rttm"; done';
    await task('linking', { model: await wholeModel('linking', script), dataset: { path: 'linked' } });
    const { status } = await settled('linking');
    assert.equal(endOf(status), 'Failed/MissingOutput', status.message);
    assert.equal(await read('linked/outputs/linked/manifest.json'), before);
    await settled('linked');
  },
};

/** Each is done to one file of many; the rest is good. */
const SMALL_LIES: Readonly<Record<string, { readonly script: string; readonly says: RegExp }>> = {
  cut: { script: 'printf SPEAKER >"$2"', says: /is cut off: its last line has no end/ },
  directory: { script: 'mkdir "$2"', says: /is not a regular file/ },
  elsewhere: { script: 'good "${2%/*}/../elsewhere.rttm"', says: /was not written/ },
  empty: { script: ': >"$2"', says: /is empty/ },
  garbage: { script: 'head -c 30000 /dev/urandom >"$2"', says: /(is no RTTM|is cut off|contains NUL)/ },
  hole: { script: 'truncate -s 4096 "$2"; echo >>"$2"', says: /(is no RTTM|contains NUL)/ },
  link: { script: 'ln -s /etc/passwd "$2"', says: /is not a regular file \(links are no results\)/ },
  none: { script: 'true', says: /was not written/ },
  pipe: { script: 'mkfifo "$2"', says: /is not a regular file/ },
};

const LOSSY: Scenarios = {
  'and lies about most of them in as many ways: the good one is published, and nothing of the others':
    async () => {
      const names = Object.keys(SMALL_LIES);
      const cases = Object.entries(SMALL_LIES).map(([name, { script }]) => `*/${name}.wav) ${script};;`);
      const script = `case $1 in ${cases.join(' ')} *) good "$2";; esac`;
      const failure = { maxAttempts: 1, maxFailedUnits: names.length };
      const end = await told('lossy', perFile(script, { failure }), [...names, 'good']);
      assert.equal(endOf(end.status), 'PartiallySucceeded/UnitsFailed', end.status.message);
      assert.deepEqual(pathsOf(end), ['raw/good.rttm']);
      assert.deepEqual(await readdir(onStore('lossy/outputs/lossy/raw')), ['good.rttm']);
      assert.deepEqual(end.manifest?.extra, { count: 1, paths: ['elsewhere.rttm'] });
      for (const [name, { says }] of Object.entries(SMALL_LIES)) {
        const unit: Unit | undefined = end.manifest?.units.find((one) => one.name === `${name}.wav`);
        assert.deepEqual([unit?.exitCode, unit?.category], [0, 'MissingOutput'], name);
        assert.match(unit?.reason ?? '', says);
      }
      assert.equal(end.status.failedUnits?.length, 4, 'the status names the first ones, the manifest all');
    },
  'and loses all of them: Failed, whatever it may lose': async () => {
    const failure = { maxAttempts: 1, maxFailedUnits: 9 };
    const { status } = await told('all-lost', perFile('exit 0', { failure }));
    assert.equal(endOf(status), 'Failed/MissingOutput', status.message);
  },
};

const more = `good "$2/raw/a.rttm"; echo x >"$2/notes.txt"; mkdir "$2/deep"; echo y >"$2/deep/er"; mkfifo "$2/pipe"; ln -s /etc/passwd "$2/link"`;
const MORE: Scenarios = {
  'beside its outputs: files are published and listed, links and pipes are not': async () => {
    const end = await told('extra', whole(more), ['a']);
    assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
    assert.deepEqual(end.manifest?.extra, { count: 2, paths: ['notes.txt', 'deep/er'] });
    assert.deepEqual(end.manifest?.removed, { count: 2, paths: ['link', 'pipe'] });
    assert.equal(existsSync(onStore('extra/outputs/extra/link')), false);
  },
  'outside of its outputs: nothing of it is to be found': async () => {
    const tries = 'for p in "$2/.." /data /data/outputs /analysis / /etc; do echo x >"$p/stray"; done';
    const end = await told('stray', whole(`( ${tries} ) 2>/dev/null; good "$2/raw/a.rttm"`), ['a']);
    assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
    assert.deepEqual((await readdir(onStore('stray'))).toSorted(), ['outputs', 'recordings']);
    assert.deepEqual((await readdir(onStore('stray/outputs'))).toSorted(), ['.staging', 'stray']);
    assert.deepEqual(end.manifest?.extra, { count: 0, paths: [] });
  },
  "a manifest and metannots of its own: the operator's take their place": async () => {
    const forged = `echo '{"identity":"me"}' >"$2/manifest.json"; mkdir "$2/metannots.yml"`;
    const end = await told('forged-manifest', whole(`good "$2/raw/a.rttm"; ${forged}`), ['a']);
    assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
    assert.ok((await stat('forged-manifest/outputs/forged-manifest/metannots.yml')).isFile());
  },
  'a sparse file of 4 GiB and a byte: hashed whole, and it takes no more room than before': async () => {
    const script = 'truncate -s 4294967297 "$2/a.bin"';
    const end = await told('sparse', whole(script, { outputs: [{ path: '{rel}.bin' }] }), ['a']);
    assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
    assert.equal(end.status.result?.bytes, 4_294_967_297);
    assert.ok((await lstat(onStore('sparse/outputs/sparse/a.bin'))).blocks < 1024);
  },
};

const writer = (text: string, step: string) =>
  `( trap "" TERM HUP; while :; do printf '${text}' >>"$o"; ${step} done ) </dev/null >/dev/null 2>&1 &`;
const line = 'SPEAKER x 1 0.00 0.10 <NA> <NA> CHI <NA> <NA>\\n';
const CHILDREN: Scenarios = {
  'with whole lines: what is published is what was there when the last of them had been stopped':
    async () => {
      const script = `o="$2/raw/a.rttm"; good "$o"; ${writer(line, 'sleep 0.02;')} sleep 0.5`;
      const end = await told('children', whole(script), ['a']);
      assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
      assert.ok((end.manifest?.outputs[0]?.size ?? 0) > 100, 'they did write');
    },
  'into an output that was recorded long ago, until another unit ends: the manifest knows the last byte':
    async () => {
      const script = `o=$2; good "$o"; case $1 in *a.wav) ${writer(line, 'sleep 0.02;')} ;; *) sleep 4;; esac`;
      const end = await told('lingering', perFile(script));
      assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
      const [a, b] = end.manifest?.outputs ?? [];
      assert.ok((a?.size ?? 0) > 10 * (b?.size ?? 0), 'they did write');
    },
  'with half a line each time: MissingOutput': async () => {
    const script = `o="$2/raw/a.rttm"; good "$o"; ${writer('SPEAKER', 'sleep 0.02;')} sleep 0.5`;
    const { status } = await told('halfway', whole(script), ['a']);
    assert.equal(endOf(status), 'Failed/MissingOutput', status.message);
  },
};

/** Something that stands where a task wants to publish. */
const IN_THE_WAY: Readonly<
  Record<string, { readonly put: (place: string) => Promise<void>; readonly says: RegExp }>
> = {
  'files of a person': {
    put: async (place) => {
      await mkdir(place);
      await writeFile(`${place}/mine.txt`, 'do not touch');
    },
    says: /already holds files without a manifest of this operator: choose another outputName/,
  },
  'a file': {
    put: (place) => writeFile(place, 'do not touch'),
    says: /already holds a file or link that is no result of this operator/,
  },
  'a link to a directory': {
    put: async (place) => {
      await mkdir(`${dirname(place)}/elsewhere`);
      await symlink('elsewhere', place);
    },
    says: /already holds a file or link that is no result of this operator/,
  },
};

async function facts(place: string): Promise<unknown> {
  const { ino, mode, size, mtimeMs } = await lstat(place);
  const inside = await readdir(place).catch(() => []);
  return { ino, mode, size, mtimeMs, inside };
}

async function conflict(
  name: string,
  meanwhile: boolean,
  { put, says }: (typeof IN_THE_WAY)[string],
): Promise<void> {
  await dataset(name, { 'a.wav': wav() });
  const place = onStore(`${name}/outputs/${name}`);
  if (!meanwhile) {
    await mkdir(dirname(place));
    await put(place);
  }
  const script = 'gate go; good "$2/raw/a.rttm"';
  await task(name, { model: await wholeModel(name, script), dataset: { path: name } });
  if (meanwhile) {
    await until(name, 'Running', ({ phase }) => phase === 'Running');
    await put(place);
  }
  const before = await facts(place);
  await openGate(name, 'go');
  const { status } = await settled(name);
  assert.equal(endOf(status), 'Failed/OutputConflict', status.message);
  assert.match(status.message ?? '', says);
  assert.equal(status.startedAt === undefined, !meanwhile, 'a model runs only when the place was free');
  assert.deepEqual(await facts(place), before, 'what is not ours stays as it is');
}

const rows = Object.entries(IN_THE_WAY);
const CONFLICTS: Scenarios = {
  ...Object.fromEntries(
    rows.map(([what, row], index) => [
      `${what}: OutputConflict before a model runs`,
      () => conflict(`conflict-${index}`, false, row),
    ]),
  ),
  ...Object.fromEntries(
    rows
      .slice(0, 1)
      .map(([what, row], index) => [
        `${what}, since the model runs: OutputConflict, and it is left alone`,
        () => conflict(`later-${index}`, true, row),
      ]),
  ),
  'the result of another task: OutputConflict names it, and it is left alone': async () => {
    const first = await told('owner', whole('good "$2/raw/a.rttm"'), ['a']);
    const place = onStore('owner/outputs/owner');
    const before = await facts(place);
    const spec = { model: first.task.spec.model, dataset: { path: 'owner' }, outputName: 'owner' };
    await task('guest', spec);
    const { status } = await settled('guest');
    assert.equal(endOf(status), 'Failed/OutputConflict', status.message);
    assert.match(status.message ?? '', /already holds the result of task analysis-e2e\/owner/);
    assert.deepEqual(await facts(place), before);
    await settled('owner');
  },
  'an empty directory: it is taken for free, and replaced': async () => {
    await dataset('vacant', { 'a.wav': wav() });
    await mkdir(onStore('vacant/outputs/vacant'), { recursive: true });
    const end = await told('vacant', whole('good "$2/raw/a.rttm"'), ['a']);
    assert.equal(endOf(end.status), 'Succeeded/Published', end.status.message);
  },
};

atOnce('a model that does not do what it says', {
  'G10 a model that exits with 0 and has written': LIED,
  "G10 a model that exits with 0 and has only yesterday's files": YESTERDAY,
  'G10 a model that may lose files': LOSSY,
  'G10 a model that writes more than it promises': MORE,
  'G10 a model whose children go on writing when it has ended': CHILDREN,
  'something stands in the place of the outputs': CONFLICTS,
});
