import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import * as realFiles from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT } from '../api/request.ts';
import { type FileCalls, selfTest } from './selftest.ts';
import { reportSelfTest } from './selftest-report.ts';

const fail = (code: string) => Promise.reject(Object.assign(new Error(`${code}: as told`), { code }));

describe('selfTest()', () => {
  let place: string;
  beforeEach(async () => {
    place = await realFiles.mkdtemp(join(tmpdir(), 'selftest-'));
  });
  afterEach(() => realFiles.rm(place, { recursive: true, force: true }));

  it('passes on a real directory, with evidence for each check, and leaves nothing behind', async () => {
    const results = await selfTest(place);
    assert.deepEqual(
      results.filter(({ ok }) => !ok),
      [],
    );
    assert.equal(results.length, 7);
    assert.ok(results.some(({ evidence }) => evidence === '1 of 16 creators won, the others got EEXIST'));
    assert.deepEqual(await realFiles.readdir(place), []);
  });

  it('says so when nothing can be written at all', async () => {
    await assert.rejects(selfTest(join(place, 'missing')), { code: 'ENOENT' });
  });

  // A file system that lies cannot be mounted here: one call at a time is replaced, all others are real.
  const broken: Record<string, { readonly calls: Partial<FileCalls>; readonly expected: [string, RegExp] }> =
    {
      'replaces a filled directory': {
        calls: {
          rename: async (from, to) => {
            await realFiles.rm(to, { recursive: true, force: true });
            await realFiles.rename(from, to);
          },
        },
        expected: [
          'rename of a directory over a filled one is refused',
          /rename succeeded.*could be replaced/,
        ],
      },
      'refuses a filled directory for the wrong reason': {
        calls: {
          rename: async (from, to) => {
            const names = await realFiles.readdir(to).catch(() => []);
            return names.length > 0 ? fail('EIO') : realFiles.rename(from, to);
          },
        },
        expected: ['rename of a directory over a filled one is refused', /EIO instead of ENOTEMPTY/],
      },
      'ignores O_EXCL': {
        calls: { open: (path, flags) => realFiles.open(path, flags === 'wx' ? 'w' : flags) },
        expected: ['exclusive create has one winner', /16 of 16 exclusive creators of one file won/],
      },
      'cannot rename directories': {
        calls: { rename: () => fail('EXDEV') },
        expected: ['rename of a directory to a new name', /EXDEV/],
      },
      'folds the case of names': {
        calls: { readdir: (path) => realFiles.readdir(path).then(folded) },
        expected: ['file names keep their case and their bytes', /\["A","a",.*listed as \["a",/],
      },
      'does not keep permissions': {
        calls: { chmod: () => Promise.resolve() },
        expected: ['permissions can be set', /gave 6\d\d and 7\d\d/],
      },
    };
  for (const [what, { calls, expected }] of Object.entries(broken)) {
    it(`finds a file system that ${what}`, async () => {
      const umask = process.umask(0o077);
      const results = await selfTest(place, { ...realFiles, ...calls }).finally(() => process.umask(umask));
      const found = results.find(({ name }) => name === expected[0]);
      assert.equal(found?.ok, false);
      assert.match(found?.evidence ?? '', expected[1]);
    });
  }
});

describe('reportSelfTest()', () => {
  const told = async (directory: string, json: boolean) => {
    const lines: string[] = [];
    const code = await reportSelfTest(directory, { json, log: (line) => lines.push(line) });
    return { code, text: lines.join('\n') };
  };

  it('exits 0 and closes with a sentence when all is well', async () => {
    const place = await realFiles.mkdtemp(join(tmpdir(), 'selftest-'));
    const { code, text } = await told(place, false);
    assert.equal(code, EXIT.ok);
    assert.match(text, /^ok {5}rename of a directory to a new name: .*\n[^]* is fit for results$/);
    assert.equal(JSON.parse((await told(place, true)).text).ok, true);
    await realFiles.rmdir(place);
  });

  it('exits with the code of storage and says what failed', async () => {
    const { code, text } = await told('/proc', true);
    assert.equal(code, EXIT.storage);
    const { ok, checks } = JSON.parse(text);
    assert.equal(ok, false);
    assert.deepEqual(
      checks.map(({ name }: { name: string }) => name),
      ['writing in /proc'],
    );
  });
});

function folded(names: string[]): string[] {
  return [...new Set(names.map((name) => name.toLowerCase()))];
}
