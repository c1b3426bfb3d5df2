import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createServerClock } from './server-clock.ts';
import { createManualClock } from './testing/manual-clock.ts';

const header = (atMs: number): string => new Date(atMs).toUTCString();

describe('server clock', () => {
  const START = Date.parse('2026-01-01T00:00:00Z');

  it('is our own clock until the server has answered, and while the two agree', () => {
    const own = createManualClock(new Date(START + 250));
    const clock = createServerClock(own);
    assert.equal(clock.now().getTime(), START + 250);
    clock.note(header(START), 0, 5);
    assert.equal(clock.now().getTime(), START + 250);
    assert.equal(clock.skewMs(), 0);
  });

  for (const shiftMs of [3_600_000, -3_600_000])
    it(`is within a second of the server when our own is off by ${shiftMs / 1000} s`, async () => {
      const own = createManualClock(new Date(START + shiftMs));
      const clock = createServerClock(own);
      clock.note(header(START), own.monotonicMs(), own.monotonicMs() + 5);
      assert.ok(Math.abs(clock.now().getTime() - START) <= 1000);
      assert.ok(Math.abs(clock.skewMs() - shiftMs) <= 1000);
      await own.advance(60_000);
      assert.ok(Math.abs(clock.now().getTime() - START - 60_000) <= 1000);
    });

  it('does not follow a jump of our own clock', async () => {
    const own = createManualClock(new Date(START));
    const clock = createServerClock(own);
    clock.note(header(START), 0, 1);
    own.shiftWall(-600_000);
    await own.advance(1_000);
    assert.equal(clock.now().getTime(), START + 1_000);
  });

  it('follows the server when its clock is set', async () => {
    const own = createManualClock(new Date(START));
    const clock = createServerClock(own);
    clock.note(header(START), 0, 1);
    clock.note(header(START + 30_000), 1, 2);
    assert.ok(Math.abs(clock.now().getTime() - START - 30_000) <= 1000);
  });

  it('leaves out answers without a date', () => {
    const own = createManualClock(new Date(START));
    const clock = createServerClock(own);
    for (const nothing of [undefined, 'yesterday', ['x']]) clock.note(nothing, 0, 1);
    assert.equal(clock.now().getTime(), START);
  });
});
