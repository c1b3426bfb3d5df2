import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { countsOf, failuresOf } from './mocha.ts';

describe('countsOf()', () => {
  const rows: Record<string, { output: string; code: number; passed: number; failed: number }> = {
    'counts passed tests': { output: '\n  12 passing (3s)\n', code: 0, passed: 12, failed: 0 },
    'counts failed tests': { output: '\n  12 passing (3s)\n  2 failing\n', code: 2, passed: 12, failed: 2 },
    'counts skipped tests as failed': {
      output: '\n  12 passing (3s)\n  1 pending\n',
      code: 0,
      passed: 12,
      failed: 1,
    },
    'counts a crash as one failure': { output: 'Error: cannot load\n', code: 1, passed: 0, failed: 1 },
    'counts a run without any test as one failure': {
      output: '\n  0 passing (1ms)\n',
      code: 0,
      passed: 0,
      failed: 1,
    },
    'is not misled by the title of a test': {
      output: '    ✔ says 3 failing\n  1 passing (1ms)\n',
      code: 0,
      passed: 1,
      failed: 0,
    },
  };
  for (const [name, { output, code, passed, failed }] of Object.entries(rows)) {
    it(name, () => assert.deepEqual(countsOf(output, code), { passed, failed }));
  }
});

describe('failuresOf()', () => {
  it('keeps what mocha says of the failed tests', () =>
    assert.equal(
      failuresOf('    ✔ one\n\n  1 passing (3s)\n  1 failing\n\n  1) two\n       why\n\n'),
      '  1 failing\n\n  1) two\n       why',
    ));
  it('is empty when all passed', () => assert.equal(failuresOf('    ✔ one\n  1 passing (3s)\n'), ''));
});
