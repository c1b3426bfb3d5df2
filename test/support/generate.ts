import fc from 'fast-check';
import type { SchemaNode } from '../../hack/gen/structural.ts';
import { isRecord, type Step, withValue } from './mutate.ts';
import type { Sample } from './samples.ts';

/*
 * Objects that users might send: some straight from the schema, with any choice of optional fields, and some that are a
 * good manifest with a few places changed. Both are good or bad as chance has it.
 */

/** Longest string, list and map that is generated: bounds have tests of their own. */
const LENGTH = 40;
const ITEMS = 3;

/** Values that the structural part of a schema allows; its rules may still refuse them. */
export function valuesOf(node: SchemaNode): fc.Arbitrary<unknown> {
  switch (node.type) {
    case 'boolean':
      return fc.boolean();
    case 'integer':
      return fc.integer({
        min: node.minimum ?? -1000,
        max: Math.min(node.maximum ?? 1_000_000, 2 ** 31 - 1),
      });
    case 'number':
      return fc.double({ min: node.minimum ?? -1e6, max: node.maximum ?? 1e6, noNaN: true });
    case 'string':
      return stringsOf(node);
    case 'array':
      return fc.array(node.items ? valuesOf(node.items) : fc.anything(), {
        minLength: node.minItems ?? 0,
        maxLength: Math.max(node.minItems ?? 0, Math.min(node.maxItems ?? ITEMS, ITEMS)),
      });
    case 'object':
      return objectsOf(node);
  }
}

function stringsOf({ enum: words, pattern, format, minLength = 0, maxLength = LENGTH }: SchemaNode) {
  if (words) return fc.constantFrom(...words);
  if (format === 'date-time') return fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
  const bounds = { minLength, maxLength: Math.max(minLength, Math.min(maxLength, LENGTH)) };
  const any = fc.string({ ...bounds, unit: 'grapheme' });
  if (pattern === undefined) return fc.oneof(any, fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/));
  const fitting = fc.stringMatching(new RegExp(pattern, 'u'), { maxLength: Math.max(maxLength, LENGTH) });
  return fc.oneof({ weight: 9, arbitrary: fitting }, { weight: 1, arbitrary: any });
}

function objectsOf({ properties = {}, required = [], additionalProperties }: SchemaNode) {
  if (additionalProperties)
    return fc.dictionary(fc.stringMatching(/^[a-z][a-zA-Z0-9_]{0,8}$/), valuesOf(additionalProperties), {
      maxKeys: ITEMS,
    });
  const fields = Object.fromEntries(Object.entries(properties).map(([key, child]) => [key, valuesOf(child)]));
  return fc.record(fields, { requiredKeys: [...required] });
}

/** What nobody should write, in the place of anything. */
const JUNK: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(
    null,
    '',
    ' ',
    '-',
    '..',
    '../..',
    '/',
    '$(x)',
    '{input}',
    '{param.none}',
    'a\nb',
    '\u{1f3a4}',
  ),
  fc.constantFrom(-1, 0, 1.5, 2 ** 53, true, [], {}, [[]], { a: 1 }),
  fc.string({ minLength: 1, maxLength: 2000, unit: 'binary' }),
  fc.constant('x'.repeat(70_000)),
);

/** Every place within a value, from the top. */
function placesIn(value: unknown, path: readonly Step[] = []): readonly (readonly Step[])[] {
  const entries: readonly (readonly [Step, unknown])[] = Array.isArray(value)
    ? value.map((item, index) => [index, item] as const)
    : isRecord(value)
      ? Object.entries(value)
      : [];
  return entries.flatMap(([key, child]) => [[...path, key], ...placesIn(child, [...path, key])]);
}

/** A good manifest with up to three places changed or removed, or with a field that nobody knows. */
function mutants(good: Sample): fc.Arbitrary<Sample> {
  const places = placesIn(good.spec, ['spec']);
  const change = fc.tuple(fc.constantFrom(...places), fc.oneof(JUNK, fc.constant(undefined)));
  const misspelt = fc.constant([['spec', 'datset'], { path: 'corpus' }] as const);
  return fc
    .array(fc.oneof({ weight: 9, arbitrary: change }, { weight: 1, arbitrary: misspelt }), { maxLength: 3 })
    .map((changes) =>
      changes
        .filter(([path]) => !changes.some(([other]) => isAbove(other, path)))
        .reduce((object, [path, value]) => withValue(object, path, value), good),
    );
}

const isAbove = (above: readonly Step[], path: readonly Step[]): boolean =>
  above.length < path.length && above.every((step, index) => step === path[index]);

/** Objects of a kind; `spec` is the schema of its spec, `good` a manifest that the server takes. */
export function objectsLike(good: Sample, spec: SchemaNode): fc.Arbitrary<Sample> {
  const fresh = valuesOf(spec).map((value) => withValue(good, ['spec'], value));
  return fc.oneof(fresh, mutants(good));
}
