import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { OutputBook } from './records.ts';
import type { OutputRecord } from './records.ts';

function record(index: number, changes: Partial<OutputRecord> = {}): OutputRecord {
  const sha256 = createHash('sha256').update(String(index)).digest('hex');
  return {
    path: `raw/子供 ${index}.rttm`,
    size: 2 ** 33 + index,
    sha256,
    ino: 2 ** 40 + index,
    mtimeMs: 1700000000000.123 + index,
    ctimeMs: 1700000000000.5,
    ...changes,
  };
}

describe('OutputBook', () => {
  it('gives back what it was given, however much', () => {
    const book = new OutputBook();
    for (let index = 0; index < 10000; index++) book.add(record(index));
    for (const index of [0, 4095, 4096, 9999]) assert.deepEqual(book.get(record(index).path), record(index));
    assert.equal(book.get('raw/other'), undefined);
  });

  it('keeps the last record of a path', () => {
    const book = new OutputBook();
    const { path } = record(1);
    for (const one of [record(1), record(2), record(3, { path }), record(4)]) book.add(one);
    assert.deepEqual(book.get(path), record(3, { path }));
    assert.deepEqual(book.get(record(2).path), record(2));
  });
});
