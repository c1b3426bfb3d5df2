import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { backoffMs } from '../lib/backoff.ts';
import { KeyedQueue } from './queue.ts';
import { createManualClock, settleTasks } from './testing/manual-clock.ts';

const aQueue = () => {
  const clock = createManualClock();
  return { clock, queue: new KeyedQueue({ clock, random: () => 0, backoff: { baseMs: 100, maxMs: 1000 } }) };
};

/** Everything that can be taken right now. */
async function takeAll(queue: KeyedQueue): Promise<string[]> {
  const taken: string[] = [];
  while (queue.depth > 0) taken.push((await queue.take()) ?? 'shutdown');
  return taken;
}

describe('KeyedQueue', () => {
  it('hands out a key once however often it is added', async () => {
    const { queue } = aQueue();
    for (const key of ['a', 'a', 'b', 'a']) queue.add(key);
    assert.deepEqual(await takeAll(queue), ['a', 'b']);
  });

  it('never hands out a key that is in work, and hands it out once more after done', async () => {
    const { queue } = aQueue();
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    assert.equal(queue.depth, 0);
    queue.done('a');
    assert.deepEqual(await takeAll(queue), ['a']);
  });

  it('gives a key to a waiting taker at once', async () => {
    const { queue } = aQueue();
    const taken = queue.take();
    queue.add('a');
    assert.equal(await taken, 'a');
  });

  it('lets the earliest of several delayed adds win', async () => {
    const { queue, clock } = aQueue();
    queue.addAfter('a', 500);
    queue.addAfter('a', 200);
    queue.addAfter('a', 900);
    await clock.advance(199);
    assert.equal(queue.depth, 0);
    await clock.advance(1);
    assert.deepEqual(await takeAll(queue), ['a']);
    queue.done('a');
    await clock.advance(10_000);
    assert.equal(queue.depth, 0);
  });

  it('keeps one timer whatever the number of delayed keys', () => {
    const { queue, clock } = aQueue();
    for (let i = 0; i < 100; i++) queue.addAfter(`key-${i}`, 1000 - i);
    assert.equal(clock.pending, 1);
  });

  it('backs off a failing key exponentially up to the bound and starts over after forget', () => {
    const { queue } = aQueue();
    const delays = Array.from({ length: 6 }, () => queue.addRateLimited('a'));
    assert.deepEqual(delays, [100, 200, 400, 800, 1000, 1000]);
    queue.forget('a');
    assert.equal(queue.addRateLimited('a'), 100);
  });

  it('serves what just changed before the initial list, without starving the list', async () => {
    const { queue } = aQueue();
    for (let i = 0; i < 3; i++) queue.add(`old-${i}`, 'low');
    for (let i = 0; i < 40; i++) queue.add(`new-${i}`);
    const taken = await takeAll(queue);
    assert.equal(taken[0], 'new-0');
    assert.equal(taken.indexOf('old-0'), 16);
    assert.equal(taken.length, 43);
  });

  it('lifts a waiting low key when it changes', async () => {
    const { queue } = aQueue();
    queue.add('first', 'low');
    queue.add('second', 'low');
    queue.add('second');
    assert.deepEqual(await takeAll(queue), ['second', 'first']);
  });

  it('drops waiting keys at shutdown and waits for those in work', async () => {
    const { queue } = aQueue();
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 10);
    await queue.take();
    let isDrained = false;
    const drained = queue.shutdown().then(() => void (isDrained = true));
    assert.equal(await queue.take(), undefined);
    await settleTasks();
    assert.equal(isDrained, false);
    queue.done('a');
    await drained;
    queue.add('d');
    assert.equal(await queue.take(), undefined);
  });

  it('ends waiting takers at shutdown', async () => {
    const { queue } = aQueue();
    const waiting = queue.take();
    await queue.shutdown();
    assert.equal(await waiting, undefined);
  });

  it('refuses done() for a key that is not in work', () => {
    assert.throws(() => aQueue().queue.done('a'), /key "a" is not in work/);
  });
});

type Step =
  | { readonly do: 'add'; readonly key: string; readonly low: boolean }
  | { readonly do: 'after'; readonly key: string; readonly ms: number }
  | { readonly do: 'fail' | 'finish' | 'take' }
  | { readonly do: 'advance'; readonly ms: number };

const key = fc.constantFrom('a', 'b', 'c', 'd');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('add' as const), key, low: fc.boolean() }),
  fc.record({ do: fc.constant('after' as const), key, ms: fc.integer({ min: 0, max: 400 }) }),
  fc.record({ do: fc.constantFrom('fail' as const, 'finish' as const, 'take' as const) }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 300 }) }),
);

describe('KeyedQueue, under any schedule', () => {
  it('loses no key and never gives one to two workers', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { queue, clock } = aQueue();
        const inWork: string[] = [];
        /** Keys that must still be handed out after their last add. */
        const owed = new Set<string>();
        const take = async (): Promise<void> => {
          if (queue.depth === 0) return;
          const taken = (await queue.take()) ?? '';
          assert.ok(!inWork.includes(taken), `${taken} is with two workers`);
          inWork.push(taken);
          owed.delete(taken);
        };
        const release = (isFailed: boolean): void => {
          const ended = inWork.shift();
          if (ended === undefined) return;
          if (isFailed) {
            queue.addRateLimited(ended);
            owed.add(ended);
          } else queue.forget(ended);
          queue.done(ended);
        };
        for (const now of steps) {
          if (now.do === 'add') queue.add(now.key, now.low ? 'low' : 'normal');
          if (now.do === 'after') queue.addAfter(now.key, now.ms);
          if ('key' in now) owed.add(now.key);
          if (now.do === 'advance') await clock.advance(now.ms);
          if (now.do === 'take') await take();
          if (now.do === 'fail' || now.do === 'finish') release(now.do === 'fail');
        }
        await clock.advance(5_000);
        while (inWork.length > 0) release(false);
        while (queue.depth > 0) {
          await take();
          release(false);
        }
        assert.deepEqual([...owed], []);
        assert.equal(queue.inWork, 0);
      }),
      { numRuns: 150 },
    );
  });
});

describe('backoffMs()', () => {
  it('is bounded, grows until the bound, and never falls below its jitter', () => {
    const chance = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
    fc.assert(
      fc.property(fc.nat(2000), chance, chance, (attempt, first, second) => {
        const shape = { baseMs: 100, maxMs: 60_000 };
        const now = backoffMs(attempt, shape, () => first);
        const next = backoffMs(attempt + 1, shape, () => second);
        assert.ok(now <= shape.maxMs && now >= shape.baseMs * 0.75);
        if (100 * 2 ** (attempt + 1) <= shape.maxMs) assert.ok(next > now);
      }),
    );
  });
});
