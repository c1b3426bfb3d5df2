import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { row } from './rig/row.ts';
import { openSink, type Sink, taken } from './rig/sink.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

const callbacks = ['lab'];

async function withSink(run: (world: World, sink: Sink) => Promise<void>): Promise<void> {
  const sink = await openSink();
  try {
    await inWorld('hook', (world) => run(world, sink));
  } finally {
    await sink.close();
  }
}

/** Types of the deliveries, the last word of each. */
const words = ({ events }: Sink): string[] => events.map(({ type }) => type.split('.').at(-1) ?? '');
const ids = ({ events }: Sink): number => new Set(events.map(({ id }) => id)).size;
const came = (sink: Sink, count: number) =>
  eventually(`${count} deliveries`, () => (sink.events.length >= count ? true : undefined), RECOVERY_MS);

describe('H callbacks', () => {
  row(
    'H0',
    'start and end are told once, signed and in order, and the task settles afterwards',
    () =>
      withSink(async (world, sink) => {
        await world.operator({ config: sink.config() });
        await world.submit('told', { callbacks });
        await world.sound({ told: 'Succeeded' });
        assert.deepEqual(words(sink), ['started', 'succeeded']);
        const { metadata } = await world.lab.get('told');
        assert.deepEqual(metadata.finalizers ?? [], [], 'nothing holds it any more');
      }),
    { smoke: true },
  );

  row(
    'H1',
    'the receiver is down while tasks end and the operator is replaced: everything is told afterwards',
    () =>
      withSink(async (world, sink) => {
        sink.answer((response) => response.destroy());
        const first = await world.operator({ config: sink.config() });
        await world.submit('late', { callbacks });
        await world.until('late', 'Succeeded', ({ phase }) => phase === 'Succeeded');
        await came(sink, 1);
        await first.stop('SIGKILL');
        sink.answer(taken);
        await world.operator({ config: sink.config() });
        await world.sound({ late: 'Succeeded' });
        assert.equal(ids(sink), 2);
        assert.equal(words(sink).at(-1), 'succeeded');
      }),
  );

  row('H2', 'a receiver that hangs delays no status, and no other task', () =>
    withSink(async (world, sink) => {
      sink.answer((response, { sequence }) => (sequence === '1' ? undefined : taken(response)));
      await world.operator({ config: sink.config() });
      await world.submit('hangs', { callbacks });
      await world.until('hangs', 'Succeeded', ({ phase }) => phase === 'Succeeded');
      await world.submit('other');
      await world.ended('other');
      sink.answer(taken);
      await world.sound({ hangs: 'Succeeded', other: 'Succeeded' });
      const order = sink.events.map(({ sequence }) => Number(sequence));
      assert.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
        'the end never overtakes the start',
      );
    }),
  );

  row(
    'H4',
    'a receiver that wants no more events settles the task, and the condition says what was given up',
    () =>
      withSink(async (world, sink) => {
        sink.answer((response) => response.writeHead(410).end());
        await world.operator({ config: sink.config() });
        await world.submit('gone', { callbacks });
        await world.sound({ gone: 'Succeeded' });
        const { status } = await world.lab.get('gone');
        const delivered = status?.conditions?.find(({ type }) => type === 'CallbacksDelivered');
        assert.deepEqual([delivered?.status, delivered?.reason], ['False', 'GivenUp']);
      }),
  );

  row(
    'H7',
    'a task that is deleted while it runs is told as cancelled before it goes',
    () =>
      withSink(async (world, sink) => {
        world.node.script('deleted', () => ({ model: 'hangs' }));
        sink.answer((response, { sequence }) =>
          sequence === '1' ? taken(response) : response.writeHead(503).end(),
        );
        await world.operator({ config: sink.config() });
        await world.submit('deleted', { callbacks });
        await world.running('deleted');
        await world.lab.deleteTask('deleted');
        await world.until('deleted', 'Cancelled', ({ phase }) => phase === 'Cancelled');
        sink.answer(taken);
        await world.sound({ deleted: 'gone' });
        assert.equal(words(sink).at(-1), 'cancelled');
      }),
    { smoke: true },
  );

  row(
    'A4',
    'the operator is killed after the receiver took an event and before that was written: the same id again',
    () =>
      withSink(async (world, sink) => {
        const first = await world.operator({ config: sink.config({ events: ['succeeded'] }) });
        sink.answer((response) => void first.stop('SIGKILL').then(() => taken(response)));
        await world.submit('twice', { callbacks });
        await came(sink, 1);
        await first.exited();
        sink.answer(taken);
        await world.operator({ config: sink.config({ events: ['succeeded'] }) });
        await world.sound({ twice: 'Succeeded' });
        assert.equal(ids(sink), 1, 'one event, however often it came');
        assert.ok(sink.events.length >= 2);
      }),
  );
});
