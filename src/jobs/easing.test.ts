import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { ModelSpecInput } from '../api/model.ts';
import { easedParameters } from './easing.ts';
import { aModel } from './testing/fixtures.ts';

type Declared = NonNullable<ModelSpecInput['parameters']>[number];
const whole = { name: 'p', type: 'Integer', default: '16', outOfMemoryFactor: 0.5 } as const;
const fraction = { name: 'p', type: 'Number', default: '0.8', outOfMemoryFactor: 0.5 } as const;

const rows: Readonly<
  Record<string, readonly [declared: Declared, times: number, before: string, after: string]>
> = {
  'changes nothing before the first shortage': [whole, 0, '16', '16'],
  'halves after one': [whole, 1, '16', '8'],
  'halves again after the second': [whole, 2, '16', '4'],
  'stops an Integer without a minimum at 1': [whole, 9, '16', '1'],
  'stops at the minimum': [{ ...whole, minimum: 3 }, 5, '8', '3'],
  'rounds an Integer down': [{ ...whole, outOfMemoryFactor: 0.9 }, 1, '8', '7'],
  'never makes a value larger': [{ ...whole, minimum: 0 }, 3, '0', '0'],
  'keeps fractions of a Number': [fraction, 1, '0.8', '0.4'],
  'stops a Number at its minimum': [{ ...fraction, minimum: 0.1 }, 9, '0.8', '0.1'],
  'leaves a parameter without a factor alone': [{ name: 'p', type: 'Integer' }, 3, '16', '16'],
};

describe('easedParameters()', () => {
  for (const [name, [declared, times, before, after]] of Object.entries(rows)) {
    it(name, () => {
      const { parameters = [] } = aModel({ parameters: [declared] }).spec;
      assert.deepEqual(easedParameters({ p: before, other: 'x' }, parameters, times), {
        p: after,
        other: 'x',
      });
    });
  }

  it('invents no value for a parameter that has none', () => {
    const { parameters = [] } = aModel({ parameters: [whole] }).spec;
    assert.deepEqual(easedParameters({}, parameters, 1), {});
  });
});
