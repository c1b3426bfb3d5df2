import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { ArrayElements } from './array-elements.ts';

/** The elements of a text that comes in chunks of these sizes; undefined when it is no array. */
function elementsOf(text: Buffer, sizes: readonly number[]): unknown[] | undefined {
  const found: unknown[] = [];
  const elements = new ArrayElements((value) => found.push(value));
  try {
    let at = 0;
    for (const size of [...sizes, text.length]) {
      elements.take(text.subarray(at, at + size));
      at += size;
    }
  } catch {
    return undefined;
  }
  return elements.isWhole ? found : undefined;
}

/** What JSON.parse makes of it. */
function expected(text: Buffer): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text.toString('utf8'));
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const sizes = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 20 });
const layout = fc.constantFrom(undefined, 1, '\t', '\r\n'.slice(1));
const array = fc
  .tuple(fc.array(fc.jsonValue({ maxDepth: 3 })), layout)
  .map(([value, space]) => Buffer.from(JSON.stringify(value, undefined, space)));

describe('ArrayElements', () => {
  it('finds the elements of any array, however its bytes are cut', () => {
    fc.assert(
      fc.property(array, sizes, (text, cuts) => {
        assert.deepEqual(elementsOf(text, cuts), expected(text));
      }),
      { numRuns: 500 },
    );
  });

  it('takes a text that was damaged anywhere exactly when JSON.parse takes it', () => {
    const damage = fc.record({
      at: fc.nat(),
      byte: fc.constantFrom(...Buffer.from('[]{},:"\\ \n1ae')),
      remove: fc.nat({ max: 2 }),
    });
    fc.assert(
      fc.property(array, damage, sizes, (text, { at, byte, remove }, cuts) => {
        const place = at % (text.length + 1);
        const damaged = Buffer.concat([
          text.subarray(0, place),
          Buffer.of(byte),
          text.subarray(place + remove),
        ]);
        assert.deepEqual(elementsOf(damaged, cuts), expected(damaged), damaged.toString());
      }),
      { numRuns: 5000 },
    );
  });

  for (const text of [
    '',
    ' ',
    '{}',
    '[',
    '[1',
    '[1,]',
    '[,]',
    '[1 2]',
    '[1]]',
    '[1] 2',
    '[}',
    '[{]}',
    '[{]]',
    '"[]"',
  ])
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.equal(elementsOf(Buffer.from(text), [1]), undefined);
    });

  it('hands out an element before the array ends, and keeps none', () => {
    const found: unknown[] = [];
    const elements = new ArrayElements((value) => found.push(value));
    elements.take(Buffer.from('[{"a": "]"}, {"b"'));
    assert.deepEqual(found, [{ a: ']' }]);
    assert.equal(elements.isWhole, false);
  });
});
