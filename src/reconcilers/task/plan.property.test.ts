import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { isTerminal } from '../../api/task.ts';
import { type Event, Simulator } from './testing/simulator.ts';

/** Mostly what operators do, because the interesting orders are theirs. */
const what = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Event['do']>('sync') },
  { weight: 4, arbitrary: fc.constantFrom<Event['do']>('sync tasks', 'sync jobs', 'sync pods') },
  { weight: 8, arbitrary: fc.constant<Event['do']>('reconcile') },
  { weight: 2, arbitrary: fc.constant<Event['do']>('reconcile and die after the status write') },
  { weight: 3, arbitrary: fc.constantFrom<Event['do']>('pod starts', 'pod stops', 'time passes') },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Event['do']>('pod succeeds', 'pod fails', 'pod is evicted', 'job is deleted'),
  },
  { weight: 1, arbitrary: fc.constantFrom<Event['do']>('cancel', 'suspend', 'resume', 'model is deleted') },
);
const events = fc.array(fc.record<Event>({ do: what, who: fc.constantFrom(0, 1) }), {
  maxLength: 80,
  size: 'max',
});

/** Enough for every retry and disruption that the policy allows. */
const ROUNDS = 40;

describe('two operators with stale copies that may die between two writes', () => {
  it('never start a second Job for an attempt, never run two pods, never take a verdict back', () => {
    fc.assert(
      fc.property(events, (list) => {
        const world = new Simulator();
        for (const event of list) world.apply(event);
        world.settle(ROUNDS);
        assert.deepEqual(world.violations, []);
      }),
      { numRuns: 2000 },
    );
  }).timeout(120_000);

  it('come to rest: no write once nothing happens any more', () => {
    fc.assert(
      fc.property(events, (list) => {
        const world = new Simulator();
        for (const event of list) world.apply(event);
        world.settle(ROUNDS);
        const before = world.writes;
        world.settle(3);
        assert.equal(world.writes, before, `${world.status?.phase}/${world.status?.reason}`);
      }),
      { numRuns: 400 },
    );
  }).timeout(60_000);

  it('reach an end when pods end, and then no pod is left', () => {
    fc.assert(
      fc.property(events, (list) => {
        const world = new Simulator();
        for (const event of list.filter((e) => e.do !== 'suspend' && e.do !== 'model is deleted'))
          world.apply(event);
        world.settle(3);
        for (let round = 0; round < 20 && !isTerminal(world.status?.phase); round++) {
          world.apply({ do: 'pod succeeds', who: 0 });
          world.settle(4);
        }
        assert.ok(
          isTerminal(world.status?.phase),
          `${world.status?.phase}/${world.status?.reason}: ${world.status?.message}`,
        );
        assert.equal(world.alivePods, 0);
        assert.equal(world.status?.settled, true);
      }),
      { numRuns: 400 },
    );
  }).timeout(60_000);
});
