import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { LearntRate } from '../../api/model.ts';
import { aModel, NOW } from '../../jobs/testing/fixtures.ts';
import type { RateSample } from '../../jobs/rates.ts';
import { type ModelObserved, planModel, ratesPauseMs } from './plan.ts';

const policy = { allowTags: false };
const sample: RateSample = { gpu: 'None', effort: 'Bytes', amount: 1e6, seconds: 10 };
const given = (more: Partial<ModelObserved> = {}): ModelObserved => ({
  model: aModel(),
  policy,
  samples: [],
  now: NOW,
  ...more,
});
const withStatus = (status: ReturnType<typeof planModel>) => ({ ...aModel(), status });

describe('planModel()', () => {
  it('is Ready when tasks can use it', () => {
    const [ready] = planModel(given())?.conditions ?? [];
    assert.deepEqual([ready?.type, ready?.status, ready?.reason], ['Ready', 'True', 'Ready']);
  });

  it('says what is wrong with the model', () => {
    const [ready] =
      planModel(given({ model: aModel({ image: 'example.org/vad:latest' }) }))?.conditions ?? [];
    assert.deepEqual([ready?.status, ready?.reason], ['False', 'ImageNotPinned']);
  });

  it('settles: the very same status once it is written', () => {
    const model = withStatus(planModel(given({ samples: [sample] })));
    const later = new Date(NOW.getTime() + 3_600_000);
    assert.equal(planModel(given({ model, now: later })), model.status);
  });

  it('learns from samples, and keeps what else the status says', () => {
    const before = planModel(given());
    const next = planModel(given({ model: withStatus(before), samples: [sample] }));
    assert.deepEqual(next?.conditions, before?.conditions);
    assert.deepEqual(
      next?.rates?.map(({ gpu, p50, samples }) => [gpu, p50, samples]),
      [['None', 10, 1]],
    );
  });

  it('keeps what was learnt when the condition changes', () => {
    const learnt = planModel(given({ samples: [sample] }));
    const model = { ...withStatus(learnt), spec: aModel({ image: 'example.org/vad:latest' }).spec };
    const next = planModel(given({ model }));
    assert.equal(next?.conditions?.[0]?.status, 'False');
    assert.deepEqual(next.rates, learnt?.rates);
  });
});

describe('ratesPauseMs()', () => {
  const rate = (secondsAgo: number): LearntRate => ({
    gpu: 'None',
    effort: 'Bytes',
    p50: 1,
    p90: 2,
    samples: 1,
    summary: '',
    updatedAt: new Date(NOW.getTime() - secondsAgo * 1000).toISOString(),
  });
  const rows: Readonly<Record<string, readonly [rates: LearntRate[], pauseMs: number]>> = {
    'nothing was learnt yet': [[], 0],
    'the last write is old': [[rate(61)], 0],
    'the last write is recent': [[rate(500), rate(20)], 40_000],
    'a clock was an hour ahead': [[rate(-3600)], 0],
    'a time makes no sense': [[{ ...rate(0), updatedAt: 'never' }], 0],
  };
  for (const [when, [rates, pauseMs]] of Object.entries(rows)) {
    it(`is ${pauseMs} when ${when}`, () => assert.equal(ratesPauseMs(rates, NOW), pauseMs));
  }
});
