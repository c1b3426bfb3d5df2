import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { came, endOnly, ends, withSink } from './rig/hook.ts';
import { leads } from './rig/measure.ts';
import { startRelay } from './rig/relay.ts';
import { row } from './rig/row.ts';
import { idsOf, taken, wordsOf } from './rig/sink.ts';
import { kindOfWrite } from './rig/workload.ts';

const callbacks = ['lab'];

describe('A callbacks and a killed operator', () => {
  row('A4', 'killed after the receiver took an event and before that was written: the same id again', () =>
    withSink(async (world, sink) => {
      const first = await world.operator({ config: sink.config(endOnly) });
      sink.answer((response) => void first.stop('SIGKILL').then(() => taken(response)));
      await world.submit('twice', { callbacks });
      await came(sink, 1);
      await first.exited();
      sink.answer(taken);
      await world.operator({ config: sink.config(endOnly) });
      await world.sound({ twice: 'Succeeded' });
      assert.equal(idsOf(sink.deliveries).length, 1, 'one event, however often it came');
      assert.ok(sink.deliveries.length >= 2);
    }),
  );

  const moments = { 'not-sent': 'drop-request', 'not-answered': 'drop-response' } as const;
  for (const [name, fault] of Object.entries(moments))
    row(
      `A6/${name}`,
      'killed while it lets go of a deleted task: the task goes, and its end was told under one id',
      () =>
        withSink(async (world, sink) => {
          world.node.script('deleted', () => ({ model: 'hangs' }));
          const first = await world.operator({ config: sink.config() });
          await world.submit('deleted', { callbacks });
          await world.running('deleted');
          const letGo = world.proxy.inject({
            matches: (request) =>
              kindOfWrite(request) === 'patch analysistasks' && request.body.includes('"finalizers":[]'),
            fault: { do: fault },
            onHit: () => void first.stop('SIGKILL'),
          });
          await world.lab.deleteTask('deleted');
          assert.equal(await first.exited(), null, 'it was killed');
          assert.equal(letGo.hits(), 1);
          await world.operator({ config: sink.config() });
          await world.sound({ deleted: 'gone' });
          assert.deepEqual([...new Set(wordsOf(sink.deliveries))], ['started', 'cancelled']);
          assert.equal(idsOf(sink.deliveries).length, 2);
        }),
    );

  row('A6/pending', 'killed while the end of a deleted task waits to be told: the next one tells it', () =>
    withSink(async (world, sink) => {
      world.node.script('deleted', () => ({ model: 'hangs' }));
      const config = sink.config({ events: ['cancelled'] });
      const first = await world.operator({ config });
      await world.submit('deleted', { callbacks });
      await world.running('deleted');
      sink.answer((response) => void response.destroy());
      await world.lab.deleteTask('deleted');
      await ends(world, 'deleted', 'Cancelled');
      await came(sink, 1);
      await first.stop('SIGKILL');
      assert.ok((await world.lab.get('deleted')).metadata.deletionTimestamp, 'it is held');
      sink.answer(taken);
      await world.operator({ config });
      await world.sound({ deleted: 'gone' });
      assert.equal(idsOf(sink.deliveries).length, 1);
    }),
  );
});

describe('E2 the leader loses the API server alone', () => {
  row('E2/callbacks', 'receivers stay in reach: it sends nothing any more before another one leads', () =>
    withSink(async (world, sink) => {
      const [own, relay] = [await world.anotherProxy(), await startRelay(sink.url)];
      try {
        sink.answer((response) => void response.destroy());
        const url = `${relay.url}/hook`;
        const first = await world.operator({ proxy: own, config: sink.config({ ...endOnly, url }) });
        await leads(first);
        const second = await world.operator({ config: sink.config(endOnly) });
        // Events that fail again and again at different times: something is always due soon.
        const tasks = Array.from({ length: 5 }, (_, index) => `task-${index}`);
        for (const task of tasks) {
          await world.submit(task, { callbacks });
          await ends(world, task);
        }
        await came(sink, tasks.length);
        own.halfOpen(true);
        await leads(second);
        const before = relay.sent('POST');
        await came(sink, sink.deliveries.length + tasks.length);
        assert.equal(relay.sent('POST'), before, 'the old leader sends on while the new one leads');
        assert.equal(await first.exited(), 1, 'it says that it lost the lease');
        sink.answer(taken);
        await world.sound(Object.fromEntries(tasks.map((task) => [task, 'Succeeded'])));
        assert.equal(relay.sent('POST'), before, 'the old leader sent something after the new one led');
        assert.equal(idsOf(sink.deliveries).length, tasks.length);
      } finally {
        await relay.close();
      }
    }),
  );
});
