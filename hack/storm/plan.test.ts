import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { planStorm, TARGETS } from './plan.ts';

const STORM = { seed: 7, minutes: 60, tasks: 300, faultEverySeconds: 60 };

describe('the plan of a storm', () => {
  const plan = planStorm(STORM);

  it('follows from its seed, and from nothing else', () => {
    assert.deepEqual(planStorm(STORM), plan);
    assert.notDeepEqual(planStorm({ ...STORM, seed: 8 }).people, plan.people);
    assert.notDeepEqual(planStorm({ ...STORM, seed: 8 }).faults, plan.faults);
  });

  it('has every task once, in the order of its time, before the end', () => {
    assert.equal(new Set(plan.people.map(({ name }) => name)).size, STORM.tasks);
    const times = plan.people.map(({ atSeconds }) => atSeconds);
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.ok((times.at(-1) ?? 0) < STORM.minutes * 60);
  });

  it('strikes everything several times, and fills the disk once', () => {
    const times = (target: string): number => plan.faults.filter((fault) => fault.target === target).length;
    for (const target of TARGETS) assert.ok(times(target) >= 5, target);
    assert.equal(times('disk'), 1);
    const starts = plan.faults.map(({ atSeconds }) => atSeconds);
    assert.deepEqual(
      starts,
      starts.toSorted((a, b) => a - b),
    );
  });

  it('asks in every way for everything', () => {
    const kinds = new Set(plan.people.map(({ way, behaviour }) => `${way}/${behaviour}`));
    assert.equal(kinds.size, 20, [...kinds].join());
    const hands = new Set(plan.people.map(({ hand }) => hand?.what));
    assert.deepEqual(hands, new Set([undefined, 'cancel', 'delete', 'suspend', 'retry']));
  });
});
