import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { LineSplitter, LineTooLongError } from './line-splitter.ts';

describe('LineSplitter', () => {
  it('gives back every line however the bytes are cut, whatever the lines contain', () => {
    const line = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 20 })
      .filter((text) => !text.includes('\n') && text.isWellFormed());
    const cuts = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 });
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), cuts, (lines, sizes) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
        const seen: string[] = [];
        const splitter = new LineSplitter(1024, (text) => seen.push(text));
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          splitter.push(bytes.subarray(at, at + size));
          at += size;
        }
        assert.deepEqual(seen, lines);
        assert.equal(splitter.pendingBytes, 0);
      }),
    );
  });

  it('does not split on other line separators', () => {
    const seen: string[] = [];
    new LineSplitter(100, (text) => seen.push(text)).push(Buffer.from('a\u2028b\u2029c\rd\n'));
    assert.deepEqual(seen, ['a\u2028b\u2029c\rd']);
  });

  it('knows that a line was cut', () => {
    const splitter = new LineSplitter(100, () => {});
    splitter.push(Buffer.from('{"a":1}\n{"b"'));
    assert.equal(splitter.pendingBytes, 4);
  });

  it('refuses a line above the bound, in one chunk or in many', () => {
    assert.throws(() => new LineSplitter(4, () => {}).push(Buffer.from('12345\n')), LineTooLongError);
    const splitter = new LineSplitter(4, () => {});
    splitter.push(Buffer.from('123'));
    assert.throws(() => splitter.push(Buffer.from('45')), LineTooLongError);
  });
});
