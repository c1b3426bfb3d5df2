import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { secondsLeft, type Work } from './estimate.ts';

const work = (done: number, left: number, sinceSeconds: number): Work => ({
  effort: 'AudioSeconds',
  done,
  left,
  sinceSeconds,
});
const KNOWN = { p50: 0.1, p90: 0.2 };

describe('secondsLeft()', () => {
  const rows: Readonly<
    Record<string, { work: Work; elapsed: number; known?: typeof KNOWN; p50?: number; p90?: number }>
  > = {
    'is effort times the known rate before anything is done': {
      work: work(0, 1000, 0),
      elapsed: 0,
      known: KNOWN,
      p50: 100,
      p90: 200,
    },
    'goes down while the first unit runs': {
      work: work(0, 1000, 30),
      elapsed: 30,
      known: KNOWN,
      p50: 70,
      p90: 170,
    },
    'does not count the time before the model ran': {
      work: work(0, 1000, 600),
      elapsed: 30,
      known: KNOWN,
      p50: 70,
      p90: 170,
    },
    'goes up again, slowly, when the first unit takes too long': {
      work: work(0, 1000, 1000),
      elapsed: 1000,
      known: KNOWN,
      p50: 100,
      p90: 500,
    },
    'is unknown before anything is done when nothing was learnt': { work: work(0, 1000, 30), elapsed: 30 },
    'goes by its own pace when nothing was learnt': {
      work: work(10, 990, 0),
      elapsed: 20,
      p50: 1980,
      p90: 2964,
    },
    'trusts its own pace half after a tenth': {
      work: work(100, 900, 0),
      elapsed: 90,
      known: KNOWN,
      p50: 270,
      p90: 463,
    },
    'trusts its own pace alone after a fifth': {
      work: work(200, 800, 0),
      elapsed: 40,
      known: KNOWN,
      p50: 160,
      p90: 230,
    },
    'trusts its own pace alone after ten minutes': {
      work: work(600, 1e6, 0),
      elapsed: 600,
      known: KNOWN,
      p50: 1e6,
      p90: 1499818,
    },
    'takes its pace from units that ended, and the rest off what is left': {
      work: work(500, 500, 10),
      elapsed: 60,
      known: KNOWN,
      p50: 40,
      p90: 57,
    },
    'is over when nothing is left': { work: work(1000, 0, 3), elapsed: 100, known: KNOWN, p50: 0, p90: 0 },
    'counts bytes in millions': {
      work: { ...work(0, 1e9, 0), effort: 'Bytes' },
      elapsed: 0,
      known: KNOWN,
      p50: 100,
      p90: 200,
    },
  };
  for (const [name, row] of Object.entries(rows)) {
    it(name, () => {
      const left = secondsLeft(row.work, row.elapsed, row.known);
      const whole = left && { p50: Math.round(left.p50), p90: Math.round(left.p90) };
      assert.deepEqual(whole, row.p50 === undefined ? undefined : { p50: row.p50, p90: row.p90 });
    });
  }

  it('is a finite number of seconds, p90 not before p50, whatever a pod tells', () => {
    const amount = fc.double({ min: 0, max: 1e15, noNaN: true });
    const seconds = fc.double({ min: 0, max: 1e8, noNaN: true });
    const pace = fc.double({ min: 1e-9, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(
        fc.record({ done: amount, left: amount, since: seconds, elapsed: seconds }),
        fc.option(pace, { nil: undefined }),
        ({ done, left, since, elapsed }, known) => {
          const found = secondsLeft(
            work(done, left, since),
            elapsed,
            known === undefined ? undefined : { p50: known, p90: known * 2 },
          );
          if (!found) return;
          assert.ok(found.p50 >= 0 && found.p90 >= found.p50, `${found.p50} ${found.p90}`);
          assert.ok(!Number.isNaN(found.p90));
        },
      ),
    );
  });
});
