import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RTTM_LINE } from './testing/fixtures.ts';
import { formatCheck, JSON_LIMIT } from './format.ts';
import type { OutputFormat } from './format.ts';

function check(format: OutputFormat, ...chunks: readonly (string | Buffer)[]): string | undefined {
  const checking = formatCheck(format);
  for (const chunk of chunks) checking.update(Buffer.from(chunk));
  return checking.finish();
}

const COMPLETE: Record<string, readonly [OutputFormat, string]> = {
  'any bytes': ['Any', 'half\0'],
  'whole lines': ['Text', 'a\nb\n'],
  'a CSV of only a header': ['Csv', 'onset,offset\n'],
  'RTTM of ten fields': ['Rttm', `${RTTM_LINE}\n${RTTM_LINE}\n`],
  'RTTM of nine fields, comments and Windows line ends': [
    'Rttm',
    ';; made by x\r\nSPKR-INFO x 1 <NA> <NA> <NA> unknown CHI <NA>\r\n',
  ],
  'JSON in several lines': ['Json', '{"a":\n [1, 2]}\n'],
  'JSON without a last line end': ['Json', '[]'],
};

const INCOMPLETE: Record<string, readonly [OutputFormat, string, RegExp]> = {
  'text cut within a line': ['Text', 'a\nb', /cut off/],
  'text with a hole': ['Text', `a\n${'\0'.repeat(10)}\n`, /never written/],
  'CSV cut within a line': ['Csv', 'onset,offset\n1,', /cut off/],
  'RTTM cut within a field': ['Rttm', `${RTTM_LINE}\nSPEAKER x 1 0.`, /cut off/],
  'RTTM cut at the end of a line': [
    'Rttm',
    `${RTTM_LINE}\nSPEAKER x 1 0.5\n`,
    /line 2 has 4 fields instead of 9 or 10/,
  ],
  'garbage as RTTM': ['Rttm', `${RTTM_LINE}\n%PDF-1.4\n`, /line 2 begins with "%PDF-1.4"/],
  'one endless line as RTTM': ['Rttm', 'x'.repeat(100000), /line 1 does not end/],
  'half of a JSON document': ['Json', '{"a": [1, 2', /is not whole JSON/],
};

describe('formatCheck()', () => {
  for (const [sentence, [format, text]] of Object.entries(COMPLETE)) {
    it(`accepts ${sentence}`, () => assert.equal(check(format, text), undefined));
  }
  for (const [sentence, [format, text, message]] of Object.entries(INCOMPLETE)) {
    it(`refuses ${sentence}`, () => assert.match(check(format, text) ?? 'accepted', message));
  }

  it('comes to the same end however the bytes are cut into chunks', () => {
    const cases = fc.constantFrom(...Object.values(COMPLETE), ...Object.values(INCOMPLETE));
    fc.assert(
      fc.property(cases, fc.array(fc.nat(40), { maxLength: 5 }), ([format, text], cuts) => {
        const chunks: string[] = [];
        let rest: string = text;
        for (const cut of cuts) {
          chunks.push(rest.slice(0, cut));
          rest = rest.slice(cut);
        }
        assert.equal(check(format, ...chunks, rest) === undefined, check(format, text) === undefined);
      }),
    );
  });

  it('judges JSON above its limit by its brackets, without keeping it', () => {
    const filler = Buffer.alloc(JSON_LIMIT, ' ');
    assert.equal(check('Json', '[1', filler, ',2]\n'), undefined);
    assert.match(check('Json', '[1', filler, ',2') ?? 'accepted', /cut off/);
  });
});
