import { after, before, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { annotatedSeconds } from './annotations.ts';

describe('annotatedSeconds()', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'annotations-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const cases: Record<string, readonly [name: string, content: string, seconds: number]> = {
    "sums ChildProject's segments, in milliseconds": [
      'a.csv',
      'segment_onset,segment_offset,speaker_type\n0,1500,CHI\n2000,2500,FEM\n',
      2,
    ],
    'finds the columns wherever they are, behind quoted commas': [
      'a.CSV',
      '\uFEFFwords,segment_offset,"segment_onset"\r\n"a, ""b""",3000,1000\r\n',
      2,
    ],
    'sums the durations of RTTM': [
      'a.rttm',
      ';; head\nSPEAKER x 1 0.00 1.25 <NA> <NA> CHI <NA> <NA>\nSPKR-INFO x 1 <NA> <NA> <NA> unknown CHI <NA>\nSPEAKER x 1 3 0.75 <NA> <NA> CHI <NA> <NA>',
      2,
    ],
    'counts no segment that ends before it begins, or has no times': [
      'a.csv',
      'segment_onset,segment_offset\n5000,1000\n,\nx,y\n\n0,500\n',
      0.5,
    ],
    'is 0 for a table of something else': ['a.csv', 'a,b\n1,2\n', 0],
    'is 0 for an empty file': ['a.csv', '', 0],
    'is 0 for what is no annotation': ['a.bin', '\0\x01\xff', 0],
  };
  for (const [sentence, [name, content, seconds]] of Object.entries(cases)) {
    it(sentence, async () => {
      await writeFile(join(folder, name), content);
      assert.equal(await annotatedSeconds(join(folder, name)), seconds);
    });
  }
});
