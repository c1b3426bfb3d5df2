import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { summaryOf } from './summary.ts';

const result = (id: string, ok = true) => ({ id, title: id, ok, ms: 1 });

describe('the summary of a run of faults', () => {
  it('counts cases of a row once, plans and mutants apart, and only the newest result of each', () => {
    const summary = summaryOf([
      result('D4/500', false),
      result('D4/503'),
      result('D4/500'),
      result('A1/create@before-send'),
      result('M/no-relist', false),
      result('B1'),
    ]);
    assert.equal(summary.rows, 3);
    assert.equal(summary.plans, 1);
    assert.equal(summary.mutants, 1);
    assert.equal(summary.killed, 0);
    assert.deepEqual(
      summary.failed.map(({ id }) => id),
      ['M/no-relist'],
    );
  });

  it('knows nothing of what was not asked for', () => {
    assert.equal(summaryOf([result('B1', false), result('B2')], ['B2']).failed.length, 0);
  });
});
