import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, normalize, sep } from 'node:path';
import fc from 'fast-check';
import { AgentFailure } from './failure.ts';
import {
  ensureDirectory,
  joinBelow,
  openUntrusted,
  realBelow,
  readUntrusted,
  stagingPaths,
} from './paths.ts';

const ROLE = { field: 'dataset.path', within: 'the store' } as const;
const HOSTILE = [
  '..',
  '../x',
  'a/../../x',
  '/etc',
  'a//b',
  '',
  '.',
  './a',
  'a/',
  'a\0b',
  `${'x'.repeat(300)}/a`,
];

describe('joinBelow()', () => {
  for (const path of HOSTILE) {
    it(`refuses ${JSON.stringify(path).slice(0, 30)}`, () => {
      assert.throws(() => joinBelow('/store', path, 'dataset.path'), {
        name: 'AgentFailure',
        category: 'InvalidInput',
      });
    });
  }

  const harmless = ['lab/corpus', '%2e%2e', '․․/x', 'a b/c', '..a', '-x', '子供', 'a\nb'];
  for (const path of harmless) {
    it(`accepts ${JSON.stringify(path)}`, () =>
      assert.equal(joinBelow('/store', path, 'x'), `/store/${path}`));
  }

  it('stays below its root whatever the string', () => {
    const segment = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.constantFrom('..', '.', '', '\0', '/', 'a'),
    );
    const path = fc.array(segment, { maxLength: 8 }).map((parts) => parts.join('/'));
    fc.assert(
      fc.property(path, path, (one, two) => {
        let joined: string;
        try {
          joined = stagingPaths(joinBelow('/store', one, 'dataset.path'), {
            taskUid: two,
            podUid: 'pod',
          }).pod;
        } catch (error) {
          assert.ok(error instanceof AgentFailure);
          return;
        }
        assert.ok(normalize(joined).startsWith(`${sep}store${sep}`), joined);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('paths on a real file system', () => {
  let root: string;
  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'paths-')));
    await mkdir(join(root, 'store/lab/corpus'), { recursive: true });
    await mkdir(join(root, 'secret'));
    await writeFile(join(root, 'secret/file'), 'secret');
  });
  afterEach(() => rm(root, { recursive: true }));

  it('realBelow() follows a link inside the store', async () => {
    await symlink('lab/corpus', join(root, 'store/alias'));
    assert.equal(await realBelow(join(root, 'store'), 'alias', ROLE), join(root, 'store/lab/corpus'));
  });

  const outside: Record<string, string> = { 'an absolute link': '/etc', 'a relative link': '../secret' };
  for (const [sentence, target] of Object.entries(outside)) {
    it(`realBelow() refuses ${sentence} out of the store`, async () => {
      await symlink(target, join(root, 'store/planted'));
      await assert.rejects(realBelow(join(root, 'store'), 'planted', ROLE), {
        category: 'InvalidInput',
        message: /"planted" is a link to a place outside of the store: copy/,
      });
    });
  }

  it('realBelow() refuses a link in the middle of a path', async () => {
    await symlink('../../secret', join(root, 'store/lab/up'));
    await assert.rejects(realBelow(join(root, 'store'), 'lab/up/file', ROLE), { category: 'InvalidInput' });
  });

  it('realBelow() names a dataset that does not exist, and a link that leads in circles', async () => {
    await symlink('circle', join(root, 'store/circle'));
    const missing = /does not exist in the store: check the spelling/;
    await assert.rejects(realBelow(join(root, 'store'), 'lab/corpsu', ROLE), { message: missing });
    await assert.rejects(realBelow(join(root, 'store'), 'circle', ROLE), { message: missing });
  });

  it('realBelow() stays inside for every string, among planted links', async () => {
    await symlink('/', join(root, 'store/root'));
    await symlink('..', join(root, 'store/lab/parent'));
    await symlink('../..', join(root, 'store/lab/grandparent'));
    const name = fc.constantFrom(
      'root',
      'lab',
      'parent',
      'grandparent',
      'corpus',
      '..',
      '.',
      'etc',
      'secret',
      'file',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(name, { minLength: 1, maxLength: 6 }), async (names) => {
        const found = await realBelow(join(root, 'store'), names.join('/'), ROLE).catch(
          (error: unknown) => error,
        );
        if (typeof found === 'string') assert.ok(`${found}/`.startsWith(`${join(root, 'store')}/`), found);
        else assert.ok(found instanceof AgentFailure, String(found));
      }),
    );
  });

  it('ensureDirectory() refuses a planted link', async () => {
    await symlink('../secret', join(root, 'store/outputs'));
    await assert.rejects(ensureDirectory(join(root, 'store/outputs')), { category: 'OutputConflict' });
  });

  it('openUntrusted() opens plain files only', async () => {
    const out = join(root, 'store');
    await symlink('../secret', join(out, 'directory'));
    await symlink('../secret/file', join(out, 'link'));
    await writeFile(join(out, 'plain'), 'x');
    execFileSync('mkfifo', [join(out, 'pipe')]);
    const seen: Record<string, string> = {};
    for (const path of ['plain', 'link', 'directory/file', 'pipe', 'lab', 'nothing', 'plain/x']) {
      // oxlint-disable-next-line no-await-in-loop -- a table
      const handle = await openUntrusted({ root: out }, path);
      seen[path] = typeof handle === 'string' ? handle : 'open';
      // oxlint-disable-next-line no-await-in-loop -- a table
      if (typeof handle !== 'string') await handle.handle.close();
    }
    assert.deepEqual(seen, {
      plain: 'open',
      link: 'notRegular',
      'directory/file': 'notRegular',
      pipe: 'notRegular',
      lab: 'notRegular',
      nothing: 'missing',
      'plain/x': 'missing',
    });
    assert.equal(await readUntrusted({ root: out }, 'link', 10), '');
  });
});
