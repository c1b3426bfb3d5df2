import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { agentReport } from '../api/request.ts';
import { fitReport, REPORT_BYTES, shorten } from './report.ts';

describe('fitReport()', () => {
  it('leaves a small report as it is', () => {
    const report = { v: 1 as const, message: 'all good', units: { total: 1, done: 1, failed: 0, reused: 0 } };
    assert.deepEqual(JSON.parse(fitReport(report)), report);
  });

  it('stays a valid report of at most 2 KiB, whatever is in it', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 3000 }),
      fc.string({ unit: fc.constantFrom('\0', '子', '😀', '"'), minLength: 500, maxLength: 1500 }),
    );
    const report = fc.record({
      v: fc.constant(1 as const),
      category: fc.constant('ModelError' as const),
      message: text,
      failedUnits: fc.array(text, { maxLength: 6 }),
    });
    fc.assert(
      fc.property(report, (given) => {
        const written = fitReport(given);
        assert.ok(Buffer.byteLength(written) <= REPORT_BYTES);
        const parsed = agentReport.parse(JSON.parse(written));
        assert.equal(parsed.category, 'ModelError');
      }),
      { numRuns: 200 },
    );
  });
});

describe('shorten()', () => {
  it('does not cut a character in half', () => assert.equal(shorten('a😀b', 3), 'a…'));
  it('says that something is missing', () => assert.equal(shorten('abcdef', 4), 'abc…'));
});
