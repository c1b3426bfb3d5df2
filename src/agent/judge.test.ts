import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { type AgentCategory, AgentFailure } from './failure.ts';
import { aRequest } from './testing/fixtures.ts';
import { judge, judgeWorker } from './judge.ts';
import { Tally } from './tally.ts';
import type { Verdict } from './verify.ts';

const ROOMY = { freeBytes: 1e9, totalBytes: 1e10 };

function verdict(name: string, category?: AgentCategory): Verdict {
  const unit = { id: name, key: name, name, inputs: [], outputs: [], effort: 1, state: 'run' } as const;
  return {
    unit,
    outputs: [],
    ...(category === undefined ? {} : { failure: { category, reason: `has ${category}` } }),
  };
}

interface Case {
  readonly verdicts: readonly (AgentCategory | 'good')[];
  readonly allowed?: number;
  readonly freeBytes?: number;
  /** Undefined: published. */
  readonly expected: AgentCategory | undefined;
}

function tallyOf(verdicts: readonly Verdict[]): Tally {
  const tally = new Tally();
  for (const one of verdicts) tally.add(one);
  return tally;
}

describe('judge()', () => {
  const cases: Record<string, Case> = {
    'publishes when all units are good': { verdicts: ['good', 'good'], expected: undefined },
    'publishes a part within the limit': {
      verdicts: ['good', 'ModelError'],
      allowed: 1,
      expected: undefined,
    },
    'fails above the limit': {
      verdicts: ['good', 'ModelError', 'ModelError'],
      allowed: 1,
      expected: 'ModelError',
    },
    'fails when no failure is allowed': { verdicts: ['good', 'MissingOutput'], expected: 'MissingOutput' },
    'fails when nothing is good, within the limit': {
      verdicts: ['ModelError'],
      allowed: 9,
      expected: 'ModelError',
    },
    'names memory before a plain failure': {
      verdicts: ['ModelError', 'OutOfMemory'],
      expected: 'OutOfMemory',
    },
    'names an exit code before a missing output': {
      verdicts: ['MissingOutput', 'ModelError'],
      expected: 'ModelError',
    },
    'names the input only when there is nothing else': {
      verdicts: ['InvalidInput', 'InvalidInput'],
      expected: 'InvalidInput',
    },
    'names the model when inputs failed as well': {
      verdicts: ['InvalidInput', 'ModelError'],
      expected: 'ModelError',
    },
    'blames a full volume': { verdicts: ['ModelError'], freeBytes: 1000, expected: 'Storage' },
    'blames a volume with less than a thousandth free': {
      verdicts: ['OutOfMemory'],
      freeBytes: 9e6,
      expected: 'Storage',
    },
    'does not blame a full volume for a bad input': {
      verdicts: ['InvalidInput'],
      freeBytes: 0,
      expected: 'InvalidInput',
    },
    'publishes on a full volume when all is there': { verdicts: ['good'], freeBytes: 0, expected: undefined },
  };
  for (const [sentence, { verdicts, allowed = 0, freeBytes, expected }] of Object.entries(cases)) {
    it(sentence, () => {
      const list = verdicts.map((category, index) =>
        verdict(`${index}.wav`, category === 'good' ? undefined : category),
      );
      const space = freeBytes === undefined ? ROOMY : { ...ROOMY, freeBytes };
      assert.equal(judge(aRequest({ maxFailedUnits: allowed }), tallyOf(list), space)?.category, expected);
    });
  }

  it('names first the units that explain the failure', () => {
    const failure = judge(
      aRequest(),
      tallyOf([verdict('a', 'MissingOutput'), verdict('b', 'OutOfMemory')]),
      ROOMY,
    );
    assert.equal(
      failure?.message,
      '2 of 2 units failed: "b" has OutOfMemory; "a" has MissingOutput. Raise resources.memory of the model',
    );
  });
});

describe('judgeWorker()', () => {
  const failure = new AgentFailure('ModelError', 'the worker reported a failure: "x"');

  it('lets the outputs decide when the worker reported completion', () => {
    assert.equal(judgeWorker(undefined, { freeBytes: 0, totalBytes: 1e10 }), undefined);
  });

  it('takes the worker at its word when it failed', () => {
    assert.equal(judgeWorker(failure, ROOMY), failure);
  });

  it('blames a full volume, and still says what the worker said', () => {
    const judged = judgeWorker(failure, { freeBytes: 4096, totalBytes: 1e10 });
    assert.equal(judged?.category, 'Storage');
    assert.match(judged.message, /reported a failure: "x"; the volume is full \(4096 of/);
  });
});
