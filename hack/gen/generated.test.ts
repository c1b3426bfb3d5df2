import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { z } from 'zod';
import { CATEGORIES } from '../../src/jobs/categories.ts';
import { crdFiles } from './crd-files.ts';
import { ROOT, stale } from './files.ts';
import { modelCoverage } from './model-coverage.ts';
import { referenceFiles, withGenerated } from './reference.ts';
import { structural } from './structural.ts';
import { valuesSchemaFiles } from './values-schema.ts';

describe('generated files', () => {
  it('are up to date: CRDs (node hack/gen-crds.ts)', async () => {
    assert.deepEqual(await stale(crdFiles()), []);
  });
  it("are up to date: the chart's values schema (node hack/gen-values-schema.ts)", async () => {
    assert.deepEqual(await stale(valuesSchemaFiles()), []);
  });
  it('are up to date: the reference in docs/kinds (node hack/gen-docs.ts)', async () => {
    assert.deepEqual(await stale(await referenceFiles()), []);
  });
  it('are up to date: what is tested of each model, in docs/models.md (node hack/gen-docs.ts)', async () => {
    assert.deepEqual(await stale(await modelCoverage()), []);
  });
  it('are reported by path when they are not', async () => {
    assert.deepEqual(await stale({ 'crds/analysistasks.yaml': 'old', 'no/such/file': '' }), [
      'crds/analysistasks.yaml',
      'no/such/file',
    ]);
  });
});

const text = (): z.ZodString => z.string().max(8);
const print = (schema: z.ZodType): unknown =>
  z.toJSONSchema(schema, { io: 'input', target: 'openapi-3.0', reused: 'inline' });

describe('structural()', () => {
  it('keeps types, bounds, descriptions, defaults and rules', () => {
    const rule = { rule: 'self.a != ""', message: 'no' };
    const schema = z
      .object({
        a: text().describe('A').default('x'),
        n: z.int().min(0).max(5).describe('N'),
        at: z.iso.datetime().optional().describe('At'),
        list: z.array(text()).max(2).describe('L').meta({ 'x-kubernetes-list-type': 'set' }),
        map: z.record(text(), text()).describe('M').meta({ maxProperties: 3 }),
      })
      .meta({ 'x-kubernetes-validations': [rule] });
    assert.deepEqual(structural(print(schema), 'spec'), {
      type: 'object',
      required: ['n', 'list', 'map'],
      'x-kubernetes-validations': [rule],
      properties: {
        a: { description: 'A', type: 'string', default: 'x', maxLength: 8 },
        n: { description: 'N', type: 'integer', format: 'int64', minimum: 0, maximum: 5 },
        at: { description: 'At', type: 'string', format: 'date-time' },
        list: {
          description: 'L',
          type: 'array',
          maxItems: 2,
          'x-kubernetes-list-type': 'set',
          items: { type: 'string', maxLength: 8 },
        },
        map: {
          description: 'M',
          type: 'object',
          maxProperties: 3,
          additionalProperties: { type: 'string', maxLength: 8 },
        },
      },
    });
  });

  const refused = {
    'a union': [z.union([text(), z.int()]), /spec\.x: anyOf has no structural form/],
    'an unbounded string': [z.string(), /spec\.x: no maxLength/],
    'an unbounded list': [z.array(text()), /spec\.x: no maxItems/],
    'an unbounded map': [z.record(z.string(), text()), /spec\.x: no maxProperties/],
    'a value of any type': [z.unknown(), /spec\.x: a structural schema needs a type/],
    'look-ahead in a pattern': [text().regex(/^(?!a)b$/), /spec\.x: RE2 does not compile/],
    'an escape that RE2 does not know': [
      text().regex(new RegExp('^\\u0041$')),
      /spec\.x: RE2 does not compile/,
    ],
  } as const satisfies Record<string, readonly [z.ZodType, RegExp]>;
  for (const [what, [field, message]] of Object.entries(refused))
    it(`refuses ${what}`, () => {
      assert.throws(() => structural(print(z.object({ x: field.describe('X') })), 'spec'), message);
    });

  it('refuses a field without a description', () => {
    assert.throws(
      () => structural(print(z.object({ a: z.object({ b: text() }).describe('A') })), 'spec'),
      /spec\.a\.b: no description/,
    );
  });

  it('reports all problems at once', () => {
    assert.throws(
      () => structural(print(z.object({ a: z.string(), b: z.string() })), 'spec'),
      /spec\.a: no description[^]*spec\.b: no description[^]*spec\.a: no maxLength[^]*spec\.b: no maxLength/,
    );
  });
});

describe('withGenerated()', () => {
  const begin = '<!-- generated:begin: hack/gen-docs.ts writes what follows, from src/api -->';
  const page = `# Kind\n\nBy hand.\n\n${begin}\nold\n<!-- generated:end -->\nAlso by hand.\n`;

  it('replaces what is between the markers, and nothing else', () => {
    assert.equal(
      withGenerated('new', { page, path: 'kind.md', source: 'src/api' }),
      `# Kind\n\nBy hand.\n\n${begin}\n\nnew\n<!-- generated:end -->\nAlso by hand.\n`,
    );
  });

  it('names the page that has no markers', () => {
    const broken = { page: '# Kind\n', path: 'kind.md', source: 'src/api' };
    assert.throws(() => withGenerated('new', broken), /kind\.md must contain the lines/);
  });
});

describe('the page of AnalysisTask', () => {
  it('explains every reason with which a task can fail', async () => {
    const page = await readFile(join(ROOT, 'docs/kinds/analysistask.md'), 'utf8');
    assert.deepEqual(
      Object.keys(CATEGORIES).filter((reason) => !page.includes(`\`${reason}\``)),
      [],
    );
  });
});
