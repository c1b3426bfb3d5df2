import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFile, chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Drift, NotOutputsError, recheckOutputs } from './recheck.ts';
import { aRequest, aStore, RECORDINGS, wav } from './testing/fixtures.ts';
import type { TestStore } from './testing/fixtures.ts';

const MAIN = join(import.meta.dirname, '..', 'main.ts');
/** Writes what it promised, and one file more. */
const CHATTY = [
  'sh',
  '-c',
  'echo "{}" >"$2"; echo x >"$(dirname "$2")/notes.txt"',
  'm',
  '{input}',
  '{output}',
];

describe('recheckOutputs()', () => {
  let store: TestStore;
  let outputs: string;
  beforeEach(async () => {
    store = await aStore();
    await store.put(`${RECORDINGS}/a.wav`, wav());
    await store.put(`${RECORDINGS}/child 1/b\u2028.wav`, wav());
    const request = aRequest({ command: CHATTY, outputs: [{ path: 'raw/{rel}.json', format: 'Json' }] });
    assert.equal((await store.pod(request).run()).code, 0);
    outputs = store.path('outputs/result');
  });
  afterEach(() => store.remove());

  const check = async (manifestSha256?: string) => {
    const drift: Drift[] = [];
    const result = await recheckOutputs(outputs, {
      concurrency: 2,
      onDrift: (found) => drift.push(found),
      ...(manifestSha256 === undefined ? {} : { manifestSha256 }),
    });
    assert.equal(result.drift, drift.length);
    return { result, drift: drift.map(({ kind, path }) => `${kind} ${path}`).toSorted() };
  };

  it('finds nothing in what was just published, and reads every byte of it', async () => {
    const { result, drift } = await check();
    assert.deepEqual(drift, []);
    assert.deepEqual([result.files, result.bytes], [2, 6]);
    const manifest = await readFile(join(outputs, 'manifest.json'));
    assert.equal(result.manifestSha256, createHash('sha256').update(manifest).digest('hex'));
    assert.deepEqual((await check(result.manifestSha256.toUpperCase())).drift, []);
  });

  const rows: Record<string, { readonly change: () => Promise<unknown>; readonly expected: string[] }> = {
    'a file that is gone': {
      change: () => rm(join(outputs, 'raw/a.json')),
      expected: ['missing raw/a.json'],
    },
    'a file of another size': {
      change: () => appendFile(join(outputs, 'raw/a.json'), ' '),
      expected: ['changed raw/a.json'],
    },
    'a file of the same size with other content': {
      change: () => writeFile(join(outputs, 'raw/a.json'), '[]\n'),
      expected: ['changed raw/a.json'],
    },
    'a link in place of a file, even to the same content': {
      change: async () => {
        await rm(join(outputs, 'raw/a.json'));
        await symlink('child 1/b\u2028.json', join(outputs, 'raw/a.json'));
      },
      expected: ['changed raw/a.json'],
    },
    'a link in place of a directory': {
      change: async () => {
        await mkdir(store.path('elsewhere/child 1'), { recursive: true });
        await writeFile(store.path('elsewhere/child 1/b\u2028.json'), '{}\n');
        await rm(join(outputs, 'raw/child 1'), { recursive: true });
        await symlink(store.path('elsewhere/child 1'), join(outputs, 'raw/child 1'));
      },
      expected: ['changed raw/child 1/b\u2028.json', 'changed raw/child 1/notes.txt', 'extra raw/child 1'],
    },
    'a file that nobody published': {
      change: () => writeFile(join(outputs, 'raw/child 1/new.json'), '{}'),
      expected: ['extra raw/child 1/new.json'],
    },
    'a file without a hash that is gone': {
      change: () => rm(join(outputs, 'raw/notes.txt')),
      expected: ['missing raw/notes.txt'],
    },
    'metannots.yml that is gone': {
      change: () => rm(join(outputs, 'metannots.yml')),
      expected: ['missing metannots.yml'],
    },
    'a manifest that is cut': {
      change: async () => {
        const text = await readFile(join(outputs, 'manifest.json'), 'utf8');
        await writeFile(join(outputs, 'manifest.json'), text.slice(0, text.lastIndexOf('    {')));
      },
      expected: ['extra raw/child 1/b\u2028.json', 'manifest manifest.json', 'manifest manifest.json'],
    },
    'a manifest with an entry that leads out of the directory': {
      change: async () => {
        const text = await readFile(join(outputs, 'manifest.json'), 'utf8');
        await writeFile(
          join(outputs, 'manifest.json'),
          text.replaceAll('"path":"raw/a.json","size"', '"path":"../../x","size"'),
        );
      },
      expected: [
        'extra raw/a.json',
        'extra raw/child 1/b\u2028.json',
        'manifest manifest.json',
        'manifest manifest.json',
      ],
    },
  };
  for (const [what, { change, expected }] of Object.entries(rows)) {
    it(`finds ${what}`, async () => {
      await change();
      assert.deepEqual((await check()).drift, expected);
    });
  }

  it('finds a manifest that is not the one that the task reported', async () => {
    assert.deepEqual((await check('0'.repeat(64))).drift, ['manifest manifest.json']);
  });

  it('compares only the number of unhashed files that the manifest does not name', async () => {
    const file = join(outputs, 'manifest.json');
    const text = await readFile(file, 'utf8');
    const renumber = (count: number, paths: string) =>
      text.replace(/"extra": \{.*\}/, `"extra": {"count":${count},"paths":[${paths}]}`);
    await writeFile(file, renumber(2, '"raw/notes.txt"'));
    assert.deepEqual((await check()).drift, []);
    await writeFile(file, renumber(3, '"raw/notes.txt"'));
    assert.deepEqual((await check()).drift, ['missing .']);
    await writeFile(join(outputs, 'one.txt'), '');
    await writeFile(join(outputs, 'two.txt'), '');
    assert.deepEqual((await check()).drift, ['extra .']);
  });

  for (const [what, path] of [
    ['a directory without a manifest', RECORDINGS],
    ['a file', 'outputs/result/manifest.json'],
    ['what does not exist', 'outputs/nothing'],
  ] as const) {
    it(`refuses ${what}`, () =>
      assert.rejects(
        recheckOutputs(store.path(path), { concurrency: 1, onDrift: () => undefined }),
        NotOutputsError,
      ));
  }

  describe('as the command verify', () => {
    const command = (...args: string[]) =>
      new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
        execFile(process.execPath, [MAIN, 'verify', ...args], (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
        );
      });

    it('exits 0 and says what it read when nothing changed', async () => {
      const { code, stdout } = await command(outputs);
      assert.equal(code, 0);
      assert.match(
        stdout,
        /outputs\/result: unchanged; 2 files checked \(6 bytes read\), published by task lab\/demo/,
      );
    });

    it('exits 1 and prints JSON that names each difference', async () => {
      await rm(join(outputs, 'raw/a.json'));
      await chmod(join(outputs, 'metannots.yml'), 0o600);
      const { code, stdout } = await command('--json', outputs);
      assert.equal(code, 1);
      const { drift, clean, files } = JSON.parse(stdout);
      assert.deepEqual([clean, files], [false, 2]);
      assert.deepEqual(drift, [{ kind: 'missing', path: 'raw/a.json', detail: 'is not there any more' }]);
    });

    it('prints JSON without differences too', async () => {
      const { stdout } = await command('--json', outputs);
      const { drift, clean } = JSON.parse(stdout);
      assert.deepEqual([drift, clean], [[], true]);
    });

    it('exits 2 for what is no outputs directory, and for a wrong option', async () => {
      const { code, stderr } = await command(store.dataset);
      assert.equal(code, 2);
      assert.match(stderr, /holds no manifest\.json of this operator: name a directory/);
      assert.equal((await command('--concurrency', 'many', outputs)).code, 2);
    });
  });
});
