import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { hashImage, type ImageInputs } from './image-hash.ts';

describe('hashImage', () => {
  let context = '';
  let inputs: ImageInputs;
  beforeEach(async () => {
    context = await mkdtemp(join(tmpdir(), 'context-'));
    await mkdir(join(context, 'dir'));
    await writeFile(join(context, 'a.txt'), 'a');
    await writeFile(join(context, 'dir/b.txt'), 'b');
    await writeFile(join(context, 'other.txt'), 'o');
    await writeFile(join(context, '.dockerignore'), 'dir/ignored*\n');
    inputs = {
      dockerfile: 'FROM a',
      context,
      sources: ['a.txt', 'dir/'],
      buildArgs: { x: '1' },
      bases: ['id'],
    };
  });
  afterEach(() => rm(context, { recursive: true, force: true }));

  const same: Readonly<Record<string, () => Promise<unknown>>> = {
    'nothing changes': () => Promise.resolve(),
    'a file changes that is not copied': () => writeFile(join(context, 'other.txt'), 'p'),
    'a file appears that is ignored': () => writeFile(join(context, 'dir/ignored.txt'), 'i'),
    'a file is written again with the same content': () => writeFile(join(context, 'a.txt'), 'a'),
  };
  const different: Readonly<Record<string, () => Promise<unknown>>> = {
    'a copied file changes': () => writeFile(join(context, 'dir/b.txt'), 'c'),
    'a file appears in a copied folder': () => writeFile(join(context, 'dir/c.txt'), ''),
    'a link appears in a copied folder': () => symlink('b.txt', join(context, 'dir/l')),
    'a file becomes executable': () => chmod(join(context, 'a.txt'), 0o755),
  };
  for (const [name, change] of Object.entries(same)) {
    it(`stays when ${name}`, async () => {
      const before = await hashImage(inputs);
      await change();
      assert.equal(await hashImage(inputs), before);
    });
  }
  for (const [name, change] of Object.entries(different)) {
    it(`changes when ${name}`, async () => {
      const before = await hashImage(inputs);
      await change();
      assert.notEqual(await hashImage(inputs), before);
    });
  }
  it('changes with the Dockerfile, an argument and a base, and covers all files of COPY .', async () => {
    const all = await Promise.all([
      hashImage(inputs),
      hashImage({ ...inputs, dockerfile: 'FROM b' }),
      hashImage({ ...inputs, buildArgs: { x: '2' } }),
      hashImage({ ...inputs, bases: ['other'] }),
      hashImage({ ...inputs, sources: ['.'] }),
    ]);
    assert.equal(new Set(all).size, all.length);
  });
});
