import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe } from 'mocha';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { eventually } from '../support/eventually.ts';
import { inElsiWorld } from './rig/elsi.ts';
import { withSink } from './rig/hook.ts';
import { metricOf } from './rig/measure.ts';
import { row } from './rig/row.ts';
import { wordsOf } from './rig/sink.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

const SHIFTED_CLOCK = join(import.meta.dirname, 'rig', 'shifted-clock.ts');
const HOUR_MS = 3_600_000;

describe("E5 the operator's clock", () => {
  const patient: Partial<ModelSpecInput> = {
    failure: { maxAttempts: 2, backoffSeconds: 4, pendingDeadlineSeconds: 600 },
  };

  for (const hours of [1, -1])
    row(
      `E5/${hours > 0 ? 'ahead' : 'behind'}`,
      `is off by ${hours} h: no deadline comes early, none late, and every stamp is true`,
      () => inWorld('skewed', (world) => underSkew(world, hours * HOUR_MS), patient),
      { smoke: hours > 0 },
    );

  row('E5/jump', 'is set back by 10 min during a backoff: the next attempt comes when it should', () =>
    inWorld(
      'jump',
      async (world) => {
        const operator = await world.operator({
          forced: true,
          preload: SHIFTED_CLOCK,
          env: { CLOCK_JUMP_MS: '-600000' },
        });
        world.node.script('retried', (attempt) => ({ model: attempt === 1 ? 'fails' : 'succeeds' }));
        await world.submit('retried');
        await world.until('retried', 'a backoff', ({ reason }) => reason === 'Retrying');
        operator.signal('SIGUSR2');
        const jumped = (): true | undefined =>
          operator.log().some((line) => line.includes('The clock jumped')) ? true : undefined;
        await eventually('the clock jumps', jumped);
        await world.submit('after');
        await world.sound({ retried: 'Succeeded', after: 'Succeeded' });
        await assertTrueStamps(world, ['retried', 'after']);
      },
      patient,
    ),
  );
});

describe('E5 the clocks of receivers and of ELSI are others', () => {
  for (const hours of [1, -1])
    row(
      `E5/callbacks-${hours > 0 ? 'ahead' : 'behind'}`,
      `the operator's clock is off by ${hours} h: no receiver takes its events for old ones`,
      () =>
        withSink(async (world, sink) => {
          const env = { CLOCK_SHIFT_MS: String(hours * HOUR_MS) };
          await world.operator({ forced: true, preload: SHIFTED_CLOCK, env, config: sink.config() });
          await world.submit('told', { callbacks: ['lab'] });
          await world.sound({ told: 'Succeeded' });
          // The reference library refuses stamps that are off by five minutes, and a refusal fails the row.
          assert.deepEqual(wordsOf(sink.deliveries), ['started', 'succeeded']);
        }),
    );

  row('E5/token', "elsi-sync's clock is off and is set back by 10 min: its token is renewed in time", () =>
    inElsiWorld(
      async (elsi) => {
        const env = { CLOCK_SHIFT_MS: String(HOUR_MS), CLOCK_JUMP_MS: '-600000' };
        const sync = await elsi.sync({ preload: SHIFTED_CLOCK, env });
        await elsi.complete(elsi.submit());
        sync.signal('SIGUSR2');
        const { login } = elsi.standIn.requests;
        const renewed = (): true | undefined => (elsi.standIn.requests.login >= login + 2 ? true : undefined);
        await eventually('two renewals', renewed, RECOVERY_MS);
        await elsi.polls(1);
        assert.equal(await metricOf(sync, 'elsi_requests_total', 'code="401"'), 0, 'ELSI refused a token');
        await elsi.complete(elsi.submit());
      },
      { tokenSeconds: 15 },
    ),
  );
});

/** Tasks that began under a true clock, and tasks that begin under a wrong one. */
async function underSkew(world: World, shiftMs: number): Promise<void> {
  const { node } = world;
  node.script('running', () => ({ model: 'hangs' }));
  node.script('retried', (attempt) => ({ model: attempt === 1 ? 'fails' : 'succeeds' }));
  const healthy = await world.operator({ forced: true });
  await world.submit('kept', { ttlSecondsAfterSettled: 1800 });
  await world.submit('waiting', { model: 'not-there-yet' });
  await world.submit('running');
  await Promise.all([world.ended('kept'), world.running('running'), waitsForModel(world)]);
  await healthy.stop();
  const env = { CLOCK_SHIFT_MS: String(shiftMs) };
  const skewed = await world.operator({ forced: true, preload: SHIFTED_CLOCK, env });
  await world.submit('retried');
  await world.ended('retried');
  await world.desire('running', 'Cancel');
  await world.sound({
    kept: 'Succeeded',
    waiting: { waits: 'ModelNotFound' },
    running: 'Cancelled',
    retried: 'Succeeded',
  });
  assert.equal(
    (await world.lab.get('waiting')).status?.phase,
    'Pending',
    'the pending deadline was not reached',
  );
  await assertTrueStamps(world, ['kept', 'waiting', 'running', 'retried']);
  assert.ok(skewed.log().some((line) => line.includes('set it by NTP')));
}

const waitsForModel = (world: World): Promise<unknown> =>
  world.until('waiting', 'waits for its model', ({ reason }) => reason === 'ModelNotFound');

const STAMP = /"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"/g;
/** The API server's stamps have whole seconds. */
const TOLERANCE_MS = 2000;

/** Every time in a status lies between the task's creation and now, and it did not end before it started. */
async function assertTrueStamps({ lab }: World, tasks: readonly string[]): Promise<void> {
  for (const task of tasks) {
    const { metadata, status = {} } = await lab.get(task);
    const [from, to] = [Date.parse(metadata.creationTimestamp) - TOLERANCE_MS, Date.now() + TOLERANCE_MS];
    for (const [, stamp = ''] of JSON.stringify(status).matchAll(STAMP))
      assert.ok(Date.parse(stamp) >= from && Date.parse(stamp) <= to, `${task}: ${stamp} is not true`);
    const { startedAt, finishedAt } = status;
    if (startedAt && finishedAt)
      assert.ok(
        Date.parse(finishedAt) + TOLERANCE_MS >= Date.parse(startedAt),
        `${task} ended before it began`,
      );
  }
}
