import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linesOf, LongLineError, TextWriter, writeLines } from './lines.ts';

async function all(lines: AsyncIterable<string>): Promise<string[]> {
  const list: string[] = [];
  for await (const line of lines) list.push(line);
  return list;
}

function* many(): Generator<string> {
  for (let count = 0; count < 100000; count++) yield `${'x'.repeat(100)}\n`;
}

describe('files of lines', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lines-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('come back as they were written, above the size of every buffer', async () => {
    const lines = Array.from({ length: 20000 }, (_, index) => `${index} 子供\u2028\r ${'x'.repeat(50)}`);
    const file = join(directory, 'many');
    await writeLines(
      file,
      lines.map((line) => `${line}\n`),
    );
    assert.deepEqual(await all(linesOf(file)), lines);
  });

  it('may lack the end of their last line, or be missing', async () => {
    const file = join(directory, 'torn');
    await writeFile(file, 'a\n\nb');
    assert.deepEqual(await all(linesOf(file)), ['a', '', 'b']);
    assert.deepEqual(await all(linesOf(join(directory, 'none'))), []);
  });

  it('may have a bound for their lines, so that a file of somebody else fills no memory', async () => {
    const file = join(directory, 'long');
    await writeFile(file, `short\n${'x'.repeat(300_000)}\nshort\n`);
    assert.equal((await all(linesOf(file, 300_000))).length, 3);
    await assert.rejects(all(linesOf(file, 200_000)), LongLineError);
  });

  it('fail to be written with the error of the system, not in silence', async () => {
    await assert.rejects(writeLines('/dev/full', many()), { code: 'ENOSPC' });
  });

  it('grow text by text, and tell at their end what went wrong', async () => {
    const file = join(directory, 'grown');
    const lines = Array.from({ length: 20000 }, (_, index) => `${index} 子供`);
    const writer = await TextWriter.create(file);
    for (const line of lines) {
      writer.add(`${line}\n`);
      await writer.drain();
    }
    await writer.finish();
    await writer.close();
    assert.deepEqual(await all(linesOf(file)), lines);
    const full = await TextWriter.create('/dev/full');
    for (const line of many()) full.add(line);
    await full.drain();
    full.add('more');
    await assert.rejects(full.finish(), { code: 'ENOSPC' });
  });
});
