import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Registry } from 'prom-client';
import { silentLog } from '../controller/log.ts';
import { createManualClock } from '../controller/testing/manual-clock.ts';
import { ElsiError } from './errors.ts';
import { checkRounds, type Rounds, runLoop } from './loop.ts';
import { createSyncMetrics } from './metrics.ts';

const INTERVAL_MS = 10_000;
const HOUR_MS = 3_600_000;

/** A loop whose rounds end as the list says, each after `roundMs`; tells when each began. */
function start(endings: readonly (Error | 'well')[], roundMs = 0) {
  const clock = createManualClock();
  const stop = new AbortController();
  const rounds: Rounds = { since: undefined };
  const begins: number[] = [];
  const round = async (): Promise<void> => {
    const ending = endings[begins.length] ?? 'well';
    begins.push(clock.monotonicMs());
    await new Promise<void>((resolve) => clock.setTimeout(resolve, roundMs));
    if (ending !== 'well') throw ending;
  };
  const metrics = createSyncMetrics(new Registry());
  const random = () => 0.5;
  const ended = runLoop(
    { round, rounds, intervalMs: INTERVAL_MS, clock, random, metrics, log: silentLog },
    stop.signal,
  );
  const close = async (): Promise<void> => {
    stop.abort();
    await clock.advance(roundMs);
    await ended;
  };
  return { clock, rounds, begins, close };
}

describe('runLoop()', () => {
  it('begins a round an interval after the last one has ended, never two at once', async () => {
    const { clock, begins, close } = start([], 25_000);
    await clock.advance(80_000);
    assert.deepEqual(begins, [0, 35_000, 70_000]);
    await close();
  });

  it('waits longer and longer after failures, and the interval again after a success', async () => {
    const down = new ElsiError('down');
    const { clock, begins, close } = start([down, down, down, 'well']);
    await clock.advance(HOUR_MS / 6);
    const pauses = begins.slice(1).map((at, index) => at - (begins[index] ?? 0));
    const [first = 0, second = 0, third = 0, afterSuccess] = pauses;
    assert.ok(first < second && second < third, pauses.join(', '));
    assert.equal(afterSuccess, INTERVAL_MS);
    await close();
  });

  it('waits as long as ELSI asks for, and counts as alive meanwhile', async () => {
    const { clock, rounds, begins, close } = start([new ElsiError('busy', { retryAfterMs: HOUR_MS })]);
    await clock.advance(HOUR_MS - 1);
    assert.deepEqual(begins, [0]);
    assert.doesNotThrow(() => checkRounds(rounds, clock.monotonicMs()));
    await clock.advance(1);
    assert.equal(begins.length, 2);
    await close();
  });

  it('counts as hanging when a round does not end, and as alive again when it has ended', async () => {
    const { clock, rounds, close } = start([], 1_000_000);
    await clock.advance(899_999);
    assert.doesNotThrow(() => checkRounds(rounds, clock.monotonicMs()));
    await clock.advance(2);
    assert.throws(() => checkRounds(rounds, clock.monotonicMs()), /under way for 900 s/);
    await clock.advance(100_000);
    assert.doesNotThrow(() => checkRounds(rounds, clock.monotonicMs()));
    await close();
  });

  it('counts as alive while another process leads, however long', () => {
    assert.doesNotThrow(() => checkRounds({ since: undefined }, 24 * HOUR_MS));
  });
});
