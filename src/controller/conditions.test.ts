import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Condition } from './conditions.ts';
import { isConditionTrue, microTimeOf, secondsOf, withCondition } from './conditions.ts';

const now = new Date('2026-03-01T10:00:00.123Z');
const started: Condition = {
  type: 'Started',
  status: 'True',
  reason: 'ModelRunning',
  message: 'The model runs',
  lastTransitionTime: '2026-01-01T00:00:00Z',
  observedGeneration: 3,
};
const { lastTransitionTime: _time, ...same } = started;

describe('withCondition()', () => {
  const cases: Record<
    string,
    { next: Omit<Condition, 'lastTransitionTime'>; since: string; generation: number | undefined }
  > = {
    'keeps the time when only the message changes': {
      next: { ...same, message: 'Still running' },
      since: started.lastTransitionTime,
      generation: 3,
    },
    'moves the time when the status flips': {
      next: { ...same, status: 'False' },
      since: '2026-03-01T10:00:00Z',
      generation: 3,
    },
    'takes a newer observedGeneration': {
      next: { ...same, observedGeneration: 4 },
      since: started.lastTransitionTime,
      generation: 4,
    },
    'starts a new condition now': {
      next: { ...same, type: 'Accepted' },
      since: '2026-03-01T10:00:00Z',
      generation: 3,
    },
  };
  for (const [name, { next, since, generation }] of Object.entries(cases)) {
    it(name, () => {
      const set = withCondition([started], next, now).find(({ type }) => type === next.type);
      assert.equal(set?.lastTransitionTime, since);
      assert.equal(set?.observedGeneration, generation);
    });
  }

  it('returns the very same list when nothing changed', () => {
    const list = [started];
    assert.equal(withCondition(list, same, now), list);
    const { observedGeneration: _generation, ...without } = same;
    assert.equal(withCondition(list, without, now), list);
  });

  it('sorts by type, so that two writers produce the same list', () => {
    const list = withCondition([started], { ...same, type: 'Accepted' }, now);
    assert.deepEqual(
      list.map(({ type }) => type),
      ['Accepted', 'Started'],
    );
    assert.equal(isConditionTrue(list, 'Accepted'), true);
    assert.equal(isConditionTrue(list, 'Finished'), false);
  });
});

describe('times for the API server', () => {
  it('metav1.Time has whole seconds, metav1.MicroTime exactly six digits', () => {
    assert.equal(secondsOf(now), '2026-03-01T10:00:00Z');
    assert.equal(microTimeOf(now), '2026-03-01T10:00:00.123000Z');
  });
});
