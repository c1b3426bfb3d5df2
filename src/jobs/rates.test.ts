import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type LearntRate, MAX_RATES, modelStatus } from '../api/model.ts';
import { paceFor, type RateSample, withSamples } from './rates.ts';

const NOW = new Date('2026-03-01T12:00:00.000Z');

const audio = (seconds: number, amount = 100, gpu = 'A100'): RateSample => ({
  gpu,
  effort: 'AudioSeconds',
  amount,
  seconds,
});
const learnt = (more: Partial<LearntRate> = {}): LearntRate => ({
  gpu: 'A100',
  effort: 'AudioSeconds',
  p50: 0.5,
  p90: 0.75,
  samples: 1,
  summary: '',
  updatedAt: '2026-03-01T11:00:00.000Z',
  ...more,
});
const paces = (rates: readonly LearntRate[]) =>
  rates.map(({ gpu, p50, p90, samples }) => [
    gpu,
    Number(p50.toPrecision(3)),
    Number(p90.toPrecision(3)),
    samples,
  ]);

describe('withSamples()', () => {
  const rows: Readonly<
    Record<string, { known?: LearntRate[]; samples: RateSample[]; learns: readonly unknown[] }>
  > = {
    'takes the first run as it is, with room above it': {
      samples: [audio(50)],
      learns: [['A100', 0.5, 0.75, 1]],
    },
    'lies in the middle of two runs, by factors': {
      samples: [audio(50), audio(200)],
      learns: [['A100', 1, 2.54, 2]],
    },
    'follows slowly once it knows much': {
      known: [learnt({ samples: 100 })],
      samples: [audio(500)],
      learns: [['A100', 0.792, 2.72, 101]],
    },
    'knows each kind of hardware by itself, the latest first': {
      known: [learnt()],
      samples: [audio(10, 100, 'T4')],
      learns: [
        ['T4', 0.1, 0.15, 1],
        ['A100', 0.5, 0.75, 1],
      ],
    },
    'starts anew when effort is counted otherwise': {
      known: [learnt({ effort: 'Bytes', samples: 9 })],
      samples: [audio(10)],
      learns: [['A100', 0.1, 0.15, 1]],
    },
    'learns nothing from a run without effort': {
      known: [learnt()],
      samples: [audio(10, 0)],
      learns: [['A100', 0.5, 0.75, 1]],
    },
    'learns nothing from a run that took no time': {
      known: [learnt()],
      samples: [audio(0)],
      learns: [['A100', 0.5, 0.75, 1]],
    },
    'starts anew over a value that makes no sense': {
      known: [learnt({ p50: 0, p90: 0, samples: 5 })],
      samples: [audio(10)],
      learns: [['A100', 0.1, 0.15, 6]],
    },
  };
  for (const [name, { known = [], samples, learns }] of Object.entries(rows)) {
    it(name, () => assert.deepEqual(paces(withSamples(known, samples, NOW)), learns));
  }

  it('returns the very same list when it learns nothing', () => {
    const known = [learnt()];
    assert.equal(withSamples(known, [audio(0), audio(5, 0)], NOW), known);
  });

  it('forgets the hardware that was used longest ago', () => {
    const kinds = Array.from({ length: MAX_RATES + 2 }, (_, index) => audio(10, 100, `gpu-${index}`));
    const names = withSamples([], kinds, NOW).map(({ gpu }) => gpu);
    assert.equal(names.length, MAX_RATES);
    assert.deepEqual([names[0], names.at(-1)], [`gpu-${MAX_RATES + 1}`, 'gpu-2']);
  });

  it('says it for people', () => {
    const told = (sample: RateSample) => withSamples([], [sample], NOW)[0]?.summary;
    assert.equal(told(audio(4, 100)), '1 h of audio in 2.4 min');
    assert.equal(told(audio(0.1, 100)), '1 h of audio in 3.6 s');
    assert.equal(told(audio(900, 100)), '1 h of audio in 9 h');
    assert.equal(told({ gpu: 'x', effort: 'Bytes', amount: 5e8, seconds: 60 }), '1 GB in 2.0 min');
  });

  const anySample = fc.record<RateSample>({
    gpu: fc.constantFrom('None', 'A100', 'T4'),
    effort: fc.constantFrom('Bytes', 'AudioSeconds', 'AnnotatedSeconds'),
    amount: fc.double({ min: 0, max: 1e18 }),
    seconds: fc.double({ min: 0, max: 1e9 }),
  });

  it('stays within bounds whatever it is taught: finite, positive, p90 at least p50, as the schema wants it', () => {
    fc.assert(
      fc.property(fc.array(anySample, { maxLength: 60 }), (samples) => {
        const rates = withSamples([], samples, NOW);
        for (const { p50, p90 } of rates) assert.ok(p50 > 0 && p90 >= p50 && p90 <= 1e11, `${p50} ${p90}`);
        modelStatus.parse({ rates });
      }),
    );
  });

  it('converges: after many runs of one speed it knows that speed, whatever it believed', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-6, max: 1e4, noNaN: true }),
        fc.double({ min: 1e-6, max: 1e4, noNaN: true }),
        fc.integer({ min: 1, max: 1000 }),
        (believed, speed, samples) => {
          const known = [learnt({ p50: believed, p90: believed * 2, samples })];
          const runs = Array.from({ length: 80 }, () => audio(speed * 100));
          const [rate] = withSamples(known, runs, NOW);
          assert.ok(rate && Math.abs(Math.log(rate.p50 / speed)) < 0.01, `${rate?.p50} for ${speed}`);
          assert.ok(rate.p90 / rate.p50 < 1.2, `spread ${rate.p90 / rate.p50}`);
        },
      ),
    );
  });

  it('has about nine of ten runs below p90 when their speeds vary', () => {
    // Speeds of a log-normal distribution, by a fixed sequence: the test is the same each time.
    const normal = (index: number): number =>
      Math.sqrt(-2 * Math.log(halton(index, 2))) * Math.cos(2 * Math.PI * halton(index, 3));
    const runs = Array.from({ length: 2000 }, (_, index) => audio(100 * Math.exp(0.5 * normal(index + 1))));
    let rates: readonly LearntRate[] = [];
    let [below50, below90] = [0, 0];
    for (const run of runs) {
      const pace = paceFor({ rates, guess: undefined }, 'AudioSeconds', 'A100');
      if (pace && run.seconds / 100 <= pace.p50) below50++;
      if (pace && run.seconds / 100 <= pace.p90) below90++;
      rates = withSamples(rates, [run], NOW);
    }
    assert.ok(below50 > 900 && below50 < 1100, `${below50} of 2000 below p50`);
    assert.ok(below90 > 1640 && below90 < 1900, `${below90} of 2000 below p90`);
  });
});

/** Element of a sequence that fills (0, 1) evenly. */
function halton(index: number, base: number): number {
  let [rest, share, sum] = [index, 1 / base, 0];
  while (rest > 0) {
    sum += share * (rest % base);
    rest = Math.floor(rest / base);
    share /= base;
  }
  return sum;
}

describe('paceFor()', () => {
  const rates = [learnt({ gpu: 'T4', p50: 2, p90: 3 }), learnt()];
  it('prefers what was learnt on this hardware', () => {
    assert.deepEqual(paceFor({ rates, guess: 9 }, 'AudioSeconds', 'A100'), { p50: 0.5, p90: 0.75 });
  });
  it('takes what was learnt last on other hardware', () => {
    assert.deepEqual(paceFor({ rates, guess: 9 }, 'AudioSeconds', 'H100'), { p50: 2, p90: 3 });
  });
  it('takes the guess of the catalogue, which is about audio only', () => {
    assert.deepEqual(paceFor({ rates: [], guess: 0.1 }, 'AudioSeconds', 'A100'), {
      p50: 0.1,
      p90: 0.1 * 1.5,
    });
    assert.equal(paceFor({ rates: [], guess: 0.1 }, 'Bytes', 'A100'), undefined);
    assert.equal(paceFor({ rates: [], guess: 0 }, 'AudioSeconds', 'A100'), undefined);
  });
  it('does not mix kinds of effort, and ignores values that make no sense', () => {
    assert.equal(paceFor({ rates, guess: undefined }, 'Bytes', 'A100'), undefined);
    assert.equal(
      paceFor({ rates: [learnt({ p50: 0 })], guess: undefined }, 'AudioSeconds', 'A100'),
      undefined,
    );
  });
});
