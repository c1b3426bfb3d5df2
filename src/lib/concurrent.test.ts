import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { setImmediate as turn } from 'node:timers/promises';
import { mapBounded } from './concurrent.ts';

describe('mapBounded()', () => {
  it('keeps the order and the bound', async () => {
    let now = 0;
    let most = 0;
    const results = await mapBounded([3, 1, 2, 0], 2, async (turns) => {
      most = Math.max(most, ++now);
      for (let left = turns; left > 0; left--) await turn();
      now--;
      return turns * 10;
    });
    assert.deepEqual({ results, most }, { results: [30, 10, 20, 0], most: 2 });
  });

  it('begins nothing after an error, and throws it when nothing is under way any more', async () => {
    const begun: string[] = [];
    let isOver = false;
    const running = mapBounded(['slow', 'bad', 'never'], 2, async (item) => {
      begun.push(item);
      await turn();
      if (item === 'bad') throw new Error('bad');
      for (let left = 5; left > 0; left--) await turn();
      isOver = true;
    });
    await assert.rejects(running, /bad/);
    assert.deepEqual({ begun, isOver }, { begun: ['slow', 'bad'], isOver: true });
  });
});
