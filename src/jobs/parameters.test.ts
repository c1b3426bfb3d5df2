import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { modelSpec, type ModelParameter } from '../api/model.ts';
import { dashProblems } from './argv.ts';
import { escapeExpansion } from './escape.ts';
import { resolveParameters } from './parameters.ts';

const declared: readonly ModelParameter[] =
  modelSpec.parse({
    version: '1',
    image: 'x',
    run: { per: 'File', command: ['x'] },
    outputs: [{ path: 'a' }],
    parameters: [
      { name: 'threshold', type: 'Number', default: '0.5', minimum: 0, maximum: 1 },
      { name: 'batch', type: 'Integer', default: '8', minimum: 1 },
      { name: 'fast', type: 'Boolean', default: 'false' },
      { name: 'language', type: 'String', enum: ['en', 'fr'] },
      { name: 'label', type: 'String', default: 'x', maxLength: 5 },
    ],
  }).parameters ?? [];

describe('resolveParameters()', () => {
  it('fills in defaults', () => {
    const resolved = resolveParameters(declared, { language: 'en' });
    assert.deepEqual(resolved, {
      ok: true,
      values: { threshold: '0.5', batch: '8', fast: 'false', language: 'en', label: 'x' },
    });
  });

  const refused: Record<string, { given: Record<string, string>; problem: RegExp }> = {
    'a missing required value': { given: {}, problem: /parameters\.language \(String\) is required/ },
    'an unknown name, with the known ones': {
      given: { language: 'en', speed: '1' },
      problem: /parameters\.speed is not .* batch, fast, label, language, threshold/,
    },
    'a number out of range': {
      given: { language: 'en', threshold: '1.5' },
      problem: /"1\.5" but must be at most 1/,
    },
    'a number below range': { given: { language: 'en', batch: '0' }, problem: /"0" but must be at least 1/ },
    'a word for a number': {
      given: { language: 'en', threshold: 'high' },
      problem: /"high" but must be a number/,
    },
    infinity: { given: { language: 'en', threshold: 'Infinity' }, problem: /must be a number/ },
    'a fraction for an integer': { given: { language: 'en', batch: '1.5' }, problem: /must be an integer/ },
    'a word for a boolean': { given: { language: 'en', fast: 'yes' }, problem: /must be "true" or "false"/ },
    'a value outside the choice': { given: { language: 'de' }, problem: /must be one of en, fr/ },
    'a long string': { given: { language: 'en', label: 'abcdef' }, problem: /at most 5 characters/ },
    'a control character': { given: { language: 'en', label: 'a\nb' }, problem: /control characters/ },
    'a name of the object prototype': {
      given: { language: 'en', constructor: 'x' },
      problem: /parameters\.constructor/,
    },
  };
  for (const [name, { given, problem }] of Object.entries(refused)) {
    it(`refuses ${name}`, () => {
      const resolved = resolveParameters(declared, given);
      assert.ok(!resolved.ok);
      assert.match(resolved.problems.join('\n'), problem);
    });
  }

  it('reports all problems at once', () => {
    const resolved = resolveParameters(declared, { threshold: '2', fast: 'x', other: '1' });
    assert.equal(resolved.ok ? 0 : resolved.problems.length, 4);
  });
});

describe('dashProblems()', () => {
  const strings = declared.filter((p) => p.type === 'String');
  it('refuses a value that would be read as an option', () => {
    assert.equal(dashProblems(['x', '{param.label}'], { label: '-rf' }, [...strings]).length, 1);
  });
  it('accepts it inside --key=value', () => {
    assert.deepEqual(dashProblems(['x', '--label={param.label}'], { label: '-rf' }, [...strings]), []);
  });
  it('accepts negative numbers', () => {
    assert.deepEqual(dashProblems(['x', '{param.batch}'], { batch: '-1' }, [...declared]), []);
  });
});

/** kubelet's expansion of $(NAME), as the API reference describes it. */
function kubeletExpands(text: string): string {
  return text.replace(/\$(\$|\((\w+)\))?/g, (whole, what?: string) =>
    what === '$' ? '$' : what ? 'EXPANDED' : whole,
  );
}

describe('escapeExpansion()', () => {
  it('survives the expansion of kubelet, whatever the text is', () => {
    const text = fc.string({ unit: fc.constantFrom('$', '(', ')', 'a', 'POD_UID', ' ') });
    fc.assert(fc.property(text, (value) => kubeletExpands(escapeExpansion(value)) === value));
  });
});
