import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createRateBook, type Measured } from './rate-book.ts';

const run = (seconds: number, name = 'vad'): Measured => ({
  model: { name, uid: 'uid' },
  node: undefined,
  effort: 'Bytes',
  amount: 1,
  seconds,
});
const seconds = (list: readonly Measured[]) => list.map((measured) => measured.seconds);

describe('createRateBook()', () => {
  it('wakes the model and hands out each measurement once', () => {
    const book = createRateBook();
    const woken: string[] = [];
    book.onNote((name) => woken.push(name));
    for (const one of [run(1), run(2, 'vtc'), run(3)]) book.note(one);
    assert.deepEqual(woken, ['vad', 'vtc', 'vad']);
    assert.deepEqual(
      [seconds(book.take('vad')), book.waits('vad'), book.waits('vtc')],
      [[1, 3], false, true],
    );
    assert.deepEqual(book.take('vad'), []);
  });

  it('takes back what could not be written, before what came meanwhile', () => {
    const book = createRateBook();
    book.note(run(1));
    const taken = book.take('vad');
    book.note(run(2));
    book.giveBack('vad', taken);
    assert.deepEqual(seconds(book.take('vad')), [1, 2]);
    book.giveBack('vad', []);
    assert.equal(book.waits('vad'), false);
  });

  it('keeps the latest of many, for a bounded number of models', () => {
    const book = createRateBook();
    for (let count = 0; count < 100; count++) book.note(run(count));
    assert.deepEqual(
      seconds(book.take('vad')),
      Array.from({ length: 64 }, (_, index) => index + 36),
    );
    for (let count = 0; count < 1001; count++) book.note(run(1, `model-${count}`));
    assert.deepEqual([book.waits('model-999'), book.waits('model-1000')], [true, false]);
  });
});
