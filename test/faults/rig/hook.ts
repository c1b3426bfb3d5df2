import assert from 'node:assert/strict';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import type { Phase } from '../../../src/api/task.ts';
import { eventually } from '../../support/eventually.ts';
import { openSink, type Sink } from './sink.ts';
import { inWorld, RECOVERY_MS, type World } from './world.ts';

/** For an endpoint that is told nothing but ends. */
export const endOnly = { events: ['succeeded', 'failed'] };

/** A world with a receiver; what it refuses fails the row, and so does a secret in a log. */
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
        const logs = world.operators.flatMap((operator) => operator.log()).join('\n');
        assert.ok(!logs.includes(sink.secret.slice('whsec_'.length)), 'the secret is in a log');
      },
      model,
    );
  } finally {
    await sink.down();
  }
}

/** Waits until the receiver got so many deliveries, repeated ones included. */
export const came = ({ deliveries }: Sink, count: number) =>
  eventually(`${count} deliveries`, () => (deliveries.length >= count ? true : undefined), RECOVERY_MS);

/** Waits until a task has ended so; its events may still be on their way. */
export const ends = (world: World, task: string, phase: Phase = 'Succeeded') =>
  world.until(task, phase, (status) => status.phase === phase);
