import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe } from 'mocha';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import { modelEnds } from '../support/kubelet.ts';
import { eventually } from '../support/eventually.ts';
import { controlPlane } from '../support/control-plane.ts';
import { counted } from './rig/measure.ts';
import { replay } from './rig/replay.ts';
import { row } from './rig/row.ts';
import { aSecret, type Delivery, idsOf, openSink, says, type Sink, taken, wordsOf } from './rig/sink.ts';
import { came, endOnly, ends, withSink } from './rig/hook.ts';
import { RECOVERY_MS, type World } from './rig/world.ts';

const callbacks = ['lab'];

async function hasEvent({ lab }: World, reason: string): Promise<true | undefined> {
  const { body } = await controlPlane().api.call('GET', lab.path('events'));
  return events.parse(body).items.some((event) => event.reason === reason) || undefined;
}

const events = z.object({ items: z.array(z.object({ reason: z.string().optional() })) });

/** What the task's status says of its events. */
async function told({ lab }: World, task: string): Promise<string | undefined> {
  const { status } = await lab.get(task);
  return status?.conditions?.find(({ type }) => type === 'CallbacksDelivered')?.reason;
}

/** Fails unless no event came after one with a higher number, repeated ones included. */
function inOrder({ deliveries }: Sink): void {
  const order = deliveries.map(({ event: { sequence } }) => Number(sequence));
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
    'the end overtook the start',
  );
}

/** Breaks the connection in the middle of the headers of a success. */
function breakOff({ socket }: ServerResponse): void {
  socket?.write('HTTP/1.1 200 OK\r\ncontent-type: text/pl', () => socket.resetAndDestroy());
}

/** Sends something every 100 ms for as long as anybody listens. */
function drip({ socket }: ServerResponse): void {
  const timer = setInterval(() => socket?.write('x'), 100);
  socket?.once('close', () => clearInterval(timer));
}

describe('H callbacks', () => {
  row(
    'H0',
    'start and end are told once, signed and in order, and the task settles afterwards',
    () =>
      withSink(async (world, sink) => {
        await world.operator({ lease: 'usual', config: sink.config() });
        await world.submit('told', { callbacks });
        await world.sound({ told: 'Succeeded' });
        assert.deepEqual(wordsOf(sink.deliveries), ['started', 'succeeded']);
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
        await sink.down();
        const first = await world.operator({ config: sink.config() });
        const tasks = ['late', 'later', 'latest'];
        for (const task of tasks) await world.submit(task, { callbacks });
        for (const task of tasks) await ends(world, task);
        await first.stop('SIGKILL');
        const second = await world.operator({ config: sink.config() });
        await counted(second, 1, 'analysis_callback_attempts_total', 'failed');
        await sink.up();
        await world.sound(Object.fromEntries(tasks.map((task) => [task, 'Succeeded'] as const)));
        assert.equal(idsOf(sink.deliveries).length, 6);
        for (const task of tasks) {
          const own = sink.deliveries.filter(({ event }) => event['source']?.toString().endsWith(`/${task}`));
          assert.deepEqual(wordsOf(own), ['started', 'succeeded']);
          assert.equal(await told(world, task), 'Delivered');
        }
      }),
  );

  row('H2', 'a receiver that hangs delays no status, no other task and no other receiver', () =>
    withSink(async (world, sink) => {
      const other = await openSink();
      try {
        let open = 0;
        let most = 0;
        sink.answer((response) => {
          most = Math.max(most, ++open);
          response.once('close', () => open--);
        });
        const config = {
          callbacks: { ...sink.config(endOnly).callbacks, ...other.config({}, 'other').callbacks },
        };
        await world.operator({ lease: 'usual', config });
        const tasks = Array.from({ length: 6 }, (_, index) => `hangs-${index}`);
        for (const task of tasks) await world.submit(task, { callbacks });
        for (const task of tasks) await ends(world, task);
        await came(sink, 4);
        await world.submit('other', { callbacks: ['other'] });
        await world.ended('other');
        assert.deepEqual(wordsOf(other.deliveries), ['started', 'succeeded']);
        for (const task of tasks) assert.notEqual((await world.lab.get(task)).status?.settled, true);
        assert.ok(most <= 4, `${most} deliveries to one receiver at once`);
        sink.answer(taken);
        await world.sound(Object.fromEntries([...tasks, 'other'].map((task) => [task, 'Succeeded'])));
      } finally {
        await other.down();
      }
    }),
  );

  row('H2/busy', 'a receiver that asks for time with 429 and 503 gets it', () =>
    withSink(async (world, sink) => {
      const asked = new Map<string, number>();
      sink.answer((response, { event: { id, sequence } }) => {
        if (asked.has(id)) return taken(response);
        asked.set(id, performance.now());
        return says(sequence === '1' ? 429 : 503, { 'retry-after': '4' })(response);
      });
      await world.operator({ lease: 'usual', config: sink.config() });
      await world.submit('busy', { callbacks });
      await world.sound({ busy: 'Succeeded' });
      assert.deepEqual(wordsOf(sink.deliveries), ['started', 'started', 'succeeded', 'succeeded']);
      for (const [id, atMs] of asked) {
        const again = sink.deliveries.findLast(({ event }) => event.id === id);
        assert.ok((again?.atMs ?? 0) - atMs >= 3900, 'it came sooner than Retry-After');
      }
    }),
  );

  row(
    'H2/drip',
    'an answer that drips: without its headers it is a failure in time, with them it is a success',
    () =>
      withSink(async (world, sink) => {
        sink.answer((response, { event: { sequence } }) => {
          if (sequence === '2') response.writeHead(200, { 'content-length': 9999 }).flushHeaders();
          else if (sink.deliveries.length > 1) return taken(response);
          else response.socket?.write('HTTP/1.1 200 OK\r\nx-never-ends: ');
          return drip(response);
        });
        await world.operator({ lease: 'usual', config: sink.config() });
        await world.submit('slow', { callbacks });
        await world.sound({ slow: 'Succeeded' });
        assert.deepEqual(wordsOf(sink.deliveries), ['started', 'started', 'succeeded']);
        assert.equal(idsOf(sink.deliveries).length, 2);
      }),
  );

  row('H3', 'a redirect of any kind is a failure: nobody follows it, and the same event comes again', () =>
    withSink(async (world, sink) => {
      const elsewhere = await openSink();
      try {
        const redirects = new Map<string, number>();
        sink.answer((response, { event: { id } }) => {
          const status = [301, 302, 303, 307, 308][redirects.size];
          if (redirects.has(id) || status === undefined) return taken(response);
          redirects.set(id, status);
          return says(status, { location: elsewhere.url })(response);
        });
        await world.operator({ lease: 'usual', config: sink.config(endOnly) });
        const tasks = Array.from({ length: 5 }, (_, index) => `task-${index}`);
        for (const task of tasks) await world.submit(task, { callbacks });
        await world.sound(Object.fromEntries(tasks.map((task) => [task, 'Succeeded'])));
        assert.equal(redirects.size, 5);
        for (const id of redirects.keys())
          assert.equal(sink.deliveries.filter(({ event }) => event.id === id).length, 2);
        assert.deepEqual([elsewhere.deliveries, elsewhere.refused], [[], []], 'a redirect was followed');
      } finally {
        await elsewhere.down();
      }
    }),
  );

  row(
    'H4',
    'a receiver that wants no more events is asked once for each, and condition and Event say what was given up',
    () =>
      withSink(async (world, sink) => {
        sink.answer(says(410));
        await world.operator({ lease: 'usual', config: sink.config() });
        await world.submit('gone', { callbacks });
        await world.sound({ gone: 'Succeeded' });
        assert.equal(await told(world, 'gone'), 'GivenUp');
        assert.deepEqual(wordsOf(sink.deliveries), ['started', 'succeeded']);
        await eventually('an Event says so', () => hasEvent(world, 'CallbackGivenUp'), RECOVERY_MS);
      }),
  );

  row(
    'H5',
    'a success whose headers break off is no success: the same ids and the same bytes come again',
    () =>
      withSink(async (world, sink) => {
        const seen = new Set<string>();
        sink.answer((response, { event: { id } }) => {
          if (seen.has(id)) return taken(response);
          seen.add(id);
          return breakOff(response);
        });
        await world.operator({ lease: 'usual', config: sink.config() });
        await world.submit('unsure', { callbacks });
        await world.sound({ unsure: 'Succeeded' });
        assert.deepEqual(wordsOf(sink.deliveries), ['started', 'started', 'succeeded', 'succeeded']);
        assert.equal(idsOf(sink.deliveries).length, 2);
        assert.deepEqual(sink.deliveries[2]?.body, sink.deliveries[3]?.body);
        assert.equal(await told(world, 'unsure'), 'Delivered');
      }),
  );

  row(
    'H6',
    'the start fails until after the end, across a kill: it still comes first, and still as a start',
    () =>
      withSink(async (world, sink) => {
        sink.answer(says(500));
        const first = await world.operator({ config: sink.config() });
        await world.submit('task', { callbacks });
        await ends(world, 'task');
        await came(sink, 2);
        await first.stop('SIGKILL');
        sink.answer(taken);
        await world.operator({ config: sink.config() });
        await world.sound({ task: 'Succeeded' });
        inOrder(sink);
        const phases = new Map(sink.deliveries.map(({ event: { type, data } }) => [type, data.phase]));
        assert.deepEqual([...phases.values()], ['Running', 'Succeeded']);
        const sequences = new Map(sink.deliveries.map(({ event: { type, sequence } }) => [type, sequence]));
        assert.deepEqual([...sequences.values()], ['1', '2']);
      }),
  );

  row('H6/given-up', 'a start that is given up does not hold back the end', () =>
    withSink(async (world, sink) => {
      sink.answer((response, { event }) => says(event.sequence === '1' ? 410 : 204)(response));
      await world.operator({ lease: 'usual', config: sink.config() });
      await world.submit('task', { callbacks });
      await world.sound({ task: 'Succeeded' });
      assert.deepEqual(wordsOf(sink.deliveries), ['started', 'succeeded']);
      assert.equal(await told(world, 'task'), 'GivenUp');
    }),
  );

  row(
    'H7',
    'a task that is deleted while its receiver is busy stays until its end is told, once, as cancelled',
    () =>
      withSink(async (world, sink) => {
        world.node.script('deleted', () => ({ model: 'hangs' }));
        sink.answer((response, { event }) => says(event.sequence === '1' ? 204 : 503)(response));
        await world.operator({ lease: 'usual', config: sink.config() });
        await world.submit('deleted', { callbacks });
        await world.running('deleted');
        await world.lab.deleteTask('deleted');
        await ends(world, 'deleted', 'Cancelled');
        await came(sink, 3);
        assert.ok((await world.lab.get('deleted')).metadata.deletionTimestamp, 'it is held');
        sink.answer(taken);
        await world.sound({ deleted: 'gone' });
        assert.equal(wordsOf(sink.deliveries).at(-1), 'cancelled');
        assert.equal(idsOf(sink.deliveries).length, 2);
      }),
    { smoke: true },
  );

  row('H7/deadline', 'a deleted task is held no longer than its event is tried', () =>
    withSink(async (world, sink) => {
      world.node.script('deleted', () => ({ model: 'hangs' }));
      sink.answer(says(500));
      await world.operator({
        lease: 'usual',
        config: sink.config({ events: ['cancelled'], giveUpAfterSeconds: 3 }),
      });
      await world.submit('deleted', { callbacks });
      await world.running('deleted');
      await world.lab.deleteTask('deleted');
      await world.sound({ deleted: 'gone' });
      assert.ok(sink.deliveries.length >= 2, 'it was tried again before it was given up');
    }),
  );

  row(
    'H8',
    'whatever the task holds, its event is small, well-formed, signed as sent, and tells nothing private',
    () =>
      withSink(thinPayload, {
        run: {
          per: 'File',
          command: ['cp', '{input}', '{output}'],
          env: [{ name: 'API_KEY', value: CANARY }],
        },
      }),
  );

  row('H9', 'a secret is rotated between two attempts: both signatures, then the new one alone', () =>
    withSink(async (world, sink) => {
      sink.answer(says(503));
      await world.operator({ lease: 'usual', config: sink.config(endOnly) });
      await world.submit('rotated', { callbacks });
      await came(sink, 1);
      const next = aSecret();
      await sink.mount({ secret: next, previous: sink.secret });
      const before = sink.deliveries.length;
      await came(sink, before + 2); // one may have read the files while they changed
      const both = lastOf(sink);
      assert.equal(signaturesOf(both).length, 2);
      for (const secret of [sink.secret, next]) new Webhook(secret).verify(both.body, both.headers);
      sink.trust(next);
      sink.answer(taken);
      await world.sound({ rotated: 'Succeeded' });
      assert.equal(idsOf(sink.deliveries).length, 1);
      await sink.mount({ secret: next });
      await world.submit('after', { callbacks });
      await world.sound({ rotated: 'Succeeded', after: 'Succeeded' });
      const alone = lastOf(sink);
      assert.equal(signaturesOf(alone).length, 1);
      assert.throws(() => new Webhook(sink.secret).verify(alone.body, alone.headers));
    }),
  );

  row(
    'H10',
    'callbacks replay sends the same event under the same id with a new time, and writes nothing',
    () =>
      withSink(async (world, sink) => {
        world.node.script('running', () => ({ model: 'hangs' }));
        await world.operator({ lease: 'usual', config: sink.config() });
        await world.submit('task', { callbacks });
        await world.submit('running', { callbacks: ['lab'] });
        await world.sound({ task: 'Succeeded', running: { waits: 'Running' } });
        const first = sink.deliveries.find(({ event }) => event.sequence === '2');
        assert.ok(first);
        const stamp = ({ headers }: Delivery) => Number(headers['webhook-timestamp']);
        const { metadata } = await world.lab.get('task');
        await eventually('another second', () => (Date.now() / 1000 >= stamp(first) + 1 ? true : undefined));
        assert.equal((await replay(world, 'task', sink.config())).code, 0);
        const again = lastOf(sink);
        assert.deepEqual([again.event.id, again.body], [first.event.id, first.body]);
        assert.ok(stamp(again) > stamp(first));
        assert.equal(idsOf(sink.deliveries).length, 3, 'no new event');
        sink.answer(says(500));
        assert.equal(
          (await replay(world, 'task', sink.config())).code,
          1,
          'a refusal shows in the exit code',
        );
        const count = sink.deliveries.length;
        assert.notEqual((await replay(world, 'running', sink.config())).code, 0);
        assert.equal(sink.deliveries.length, count, 'a task that runs has no end to tell');
        const after = await world.lab.get('task');
        assert.equal(after.metadata.resourceVersion, metadata.resourceVersion);
      }),
  );
});

const CANARY = 'canary-env-never-to-be-seen';

async function thinPayload(world: World, sink: Sink): Promise<void> {
  const words = `☃ ${'🦉'.repeat(4000)} "\\\u2028\u0007<script>`;
  world.node.script('wordy', () => ({ model: 'fails', ends: modelEnds(3, { message: words }) }));
  await world.operator({ lease: 'usual', config: sink.config() });
  const annotations = { 'example.org/note': CANARY, 'example.org/long': 'x'.repeat(200_000) };
  const spec = { model: world.model, dataset: { path: 'corpus' }, callbacks };
  assert.equal((await world.lab.task('wordy', spec, annotations)).status, 201);
  await world.sound({ wordy: 'Failed' });
  const [first, last] = [sink.deliveries[0], lastOf(sink)];
  assert.deepEqual(wordsOf(sink.deliveries), ['started', 'failed']);
  const { message = '' } = last.event.data;
  assert.ok(message.includes('🦉') && message.isWellFormed(), message);
  for (const delivery of [first, last]) {
    const text = delivery?.body.toString() ?? '';
    assert.ok(Buffer.byteLength(text) < 20_000, `${text.length} characters`);
    assert.deepEqual(Buffer.from(text), delivery?.body, 'it is UTF-8');
    const sent = text + JSON.stringify(delivery?.headers);
    for (const secret of [CANARY, sink.secret]) assert.ok(!sent.includes(secret), secret);
  }
}

const signaturesOf = ({ headers }: Delivery): readonly string[] =>
  (headers['webhook-signature'] ?? '').split(' ');

function lastOf({ deliveries }: Sink): Delivery {
  return deliveries.at(-1) ?? assert.fail('nothing came');
}
