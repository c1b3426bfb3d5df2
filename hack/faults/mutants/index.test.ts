import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { ROOT } from '../../gen/files.ts';
import { MUTANTS } from './index.ts';

describe('the mutants', () => {
  for (const { name, edits } of MUTANTS) {
    it(`${name} fits the source that it breaks`, async () => {
      for (const { file, find, replace } of edits) {
        // oxlint-disable-next-line no-await-in-loop -- a handful of small files
        const source = await readFile(join(ROOT, file), 'utf8');
        assert.equal(source.split(find).length - 1, 1, `${file} has "${find}" once`);
        assert.notEqual(replace, find);
      }
    });
  }

  it('have names of their own', () => {
    const names = MUTANTS.map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)]);
  });
});
