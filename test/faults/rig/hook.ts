import assert from 'node:assert/strict';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import type { Phase } from '../../../src/api/task.ts';
import { eventually } from '../../support/eventually.ts';
import { leaksOf } from './leaks.ts';
import { groupBy } from './oracles.ts';
import { idsOf, openSink, type Sink } from './sink.ts';
import { inWorld, RECOVERY_MS, type World } from './world.ts';

/** For an endpoint that is told nothing but ends. */
export const endOnly = { events: ['succeeded', 'failed'] };

/** A world with a receiver; what it refuses fails the row, and so does an event that was lost or a secret that got out. */
export async function withSink(
  run: (world: World, sink: Sink) => Promise<void>,
  model?: Partial<ModelSpecInput>,
): Promise<void> {
  const sink = await openSink();
  try {
    await inWorld(
      'hook',
      async (world) => {
        await run(world, sink);
        assert.deepEqual(sink.refused, []);
        assert.deepEqual(await neverTold(world, sink), []);
        assert.deepEqual(await leaksOf(world, world.operators, sink.secret.slice('whsec_'.length)), []);
      },
      model,
    );
  } finally {
    await sink.down();
  }
}

/** I7: an event leaves the outbox of a task when the receiver has taken it, or when it is said that it was given up. */
async function neverTold(world: World, sink: Sink): Promise<string[]> {
  const { taskWrites } = await world.history();
  const tried = new Set(idsOf(sink.deliveries));
  return [...groupBy(taskWrites, ({ uid }) => uid).values()].flatMap((writes) => {
    const { name, uid, status } = writes.at(-1) ?? assert.fail('a group is never empty');
    const waiting = new Set((status.outbox ?? []).map(({ id }) => id));
    const isGivenUp = (status.conditions ?? []).some(({ reason }) => reason === 'GivenUp');
    const ids = new Set(
      writes.flatMap((write) =>
        (write.status.outbox ?? []).flatMap(({ id, endpoint }) => (endpoint === 'lab' ? [id] : [])),
      ),
    );
    // A deleted task goes without another write: its last outbox is then what it owed.
    const isOwed = (id: string): boolean =>
      !sink.accepted.has(id) && (waiting.has(id) ? !tried.has(id) : !isGivenUp);
    return [...ids].filter(isOwed).map((id) => `I7 event ${id} of ${name} (${uid}) got lost`);
  });
}

/** Waits until the receiver got so many deliveries, repeated ones included. */
export const came = ({ deliveries }: Sink, count: number) =>
  eventually(`${count} deliveries`, () => (deliveries.length >= count ? true : undefined), RECOVERY_MS);

/** Waits until a task has ended so; its events may still be on their way. */
export const ends = (world: World, task: string, phase: Phase = 'Succeeded') =>
  world.until(task, phase, (status) => status.phase === phase);
