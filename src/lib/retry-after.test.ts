import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { retryAfterMs } from './retry-after.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');

describe('retryAfterMs()', () => {
  const rows: readonly (readonly [string, string | string[] | undefined, number | undefined])[] = [
    ['reads seconds', '120', 120_000],
    ['reads zero', '0', 0],
    ['reads a date', 'Thu, 01 Jan 2026 00:01:30 GMT', 90_000],
    ['takes a date of the past for now', 'Wed, 31 Dec 2025 23:00:00 GMT', 0],
    ['reads the first of several', ['7', '9'], 7000],
    ['finds nothing where there is none', undefined, undefined],
    ['takes no empty text', '', undefined],
    ['takes nothing negative', '-5', undefined],
    ['takes no fraction', '1.5', undefined],
    ['takes no other text', 'later', undefined],
  ];
  for (const [title, header, expected] of rows)
    it(title, () => assert.equal(retryAfterMs(header, NOW), expected));
});
