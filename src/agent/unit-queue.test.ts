import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import type { Unit } from './plan.ts';
import type { Plan } from './plan-file.ts';
import { UnitQueue } from './unit-queue.ts';

const HEAD = { schema: 1, taskUID: '', podUID: '', attempt: 1, createdAt: '', planHash: '' } as const;

/** A plan whose file fails once, after as many units as `failsAfter`. */
function planOf(states: readonly Unit['state'][], failsAfter = Infinity): Plan {
  let mayFail = true;
  async function* units(): AsyncGenerator<Unit> {
    for (const [index, state] of states.entries()) {
      if (mayFail && index === failsAfter) {
        mayFail = false;
        throw new Error('stale');
      }
      yield { id: String(index), key: '', name: '', inputs: [], outputs: [], effort: 1, state };
    }
  }
  return { head: HEAD, units };
}

async function rest(queue: UnitQueue): Promise<string[]> {
  const ids: string[] = [];
  for (let unit = await queue.first(); unit !== undefined; unit = await queue.first()) {
    ids.push(unit.id);
    queue.shift();
  }
  return ids;
}

describe('UnitQueue', () => {
  it('hands out what is to be run, each unit until it is taken', async () => {
    const queue = new UnitQueue(planOf(['reused', 'run', 'refused', 'run', 'abandoned']));
    assert.equal((await queue.first())?.id, '1');
    assert.equal((await queue.first())?.id, '1');
    assert.deepEqual(await rest(queue), ['1', '3']);
    assert.equal(await queue.first(), undefined);
    await queue.close();
  });

  it('goes on where it was after an error of the volume', async () => {
    const queue = new UnitQueue(planOf(['run', 'reused', 'run', 'run', 'run'], 3));
    await assert.rejects(rest(queue), /stale/);
    assert.deepEqual(await rest(queue), ['3', '4']);
  });
});
