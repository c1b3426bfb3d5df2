import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { ProgressReport } from '../../../api/request.ts';
import { createManualClock } from '../../../controller/testing/manual-clock.ts';
import { createProgressBook } from './book.ts';

const report = (taskUID: string, unitsDone = 0): ProgressReport => ({
  taskUID,
  podUID: 'pod',
  unitsDone,
  unitsTotal: 10,
  unitsFailed: 0,
  percent: unitsDone * 10,
  work: { effort: 'Bytes', done: unitsDone, left: 10 - unitsDone, sinceSeconds: 2 },
});

describe('createProgressBook()', () => {
  const bookOf = (tasks: number) => {
    const clock = createManualClock();
    const book = createProgressBook(clock);
    for (let index = 0; index < tasks; index++) book.note(report(`t${index}`));
    return { clock, book };
  };

  it('says whether anything happened since', () => {
    const { book } = bookOf(0);
    assert.deepEqual(
      [book.note(report('t')), book.note(report('t')), book.note(report('t', 1))],
      [true, false, true],
    );
  });

  it('ages what a pod told', async () => {
    const { book, clock } = bookOf(1);
    await clock.advance(3000);
    assert.equal(book.report('t0')?.work?.sinceSeconds, 5);
  });

  it('lets 50 tasks show small changes every 5 seconds, and many once a minute', () => {
    for (const [tasks, pauseMs] of [
      [1, 100],
      [50, 5000],
      [2000, 60_000],
    ] as const) {
      const { book } = bookOf(tasks);
      assert.equal(book.pauseMs('t0'), 0, 'nothing was written yet');
      book.written('t0');
      assert.equal(book.pauseMs('t0'), pauseMs, `${tasks} tasks`);
    }
  });

  it('forgets', () => {
    const { book } = bookOf(1);
    book.written('t0');
    book.forget('t0');
    assert.deepEqual([book.report('t0'), book.pauseMs('t0')], [undefined, 0]);
  });
});
