import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { taskStatus } from '../../api/task.ts';
import { planTask } from './plan.ts';
import type { TaskPlan } from './task-plan.ts';
import { beginRows } from './testing/begin-rows.ts';
import { endRows } from './testing/end-rows.ts';
import { followRows } from './testing/follow-rows.ts';
import { nodeLostRows } from './testing/node-lost-rows.ts';
import { reportRows } from './testing/report-rows.ts';
import { retriedRows } from './testing/retried-rows.ts';
import { after } from './testing/seen.ts';
import { storeRows } from './testing/store-rows.ts';

/** What a plan does, in words. */
function deeds(plan: TaskPlan): string[] {
  return [
    ...(plan.needs ? [`read ${plan.needs}`] : []),
    ...(plan.finalizers ? [`hold for ${plan.finalizers.join(', ') || 'nobody'}`] : []),
    ...plan.removeJobs.map(({ name }) => `delete job ${name.slice(0, 7)}`),
    ...plan.removePods.map(({ force }) => (force ? 'force pod away' : 'delete pod')),
    ...(plan.create ? ['claim and create'] : []),
  ];
}

const conditionOf = ({ status }: TaskPlan, wanted: string) =>
  status?.conditions?.find(({ type }) => type === wanted)?.status;

const table = {
  ...beginRows,
  ...followRows,
  ...nodeLostRows,
  ...endRows,
  ...storeRows,
  ...reportRows,
  ...retriedRows,
};

describe('planTask()', () => {
  for (const [name, row] of Object.entries(table)) {
    it(name, () => {
      const plan = planTask(row.given);
      if (row.does) assert.deepEqual(deeds(plan), row.does);
      if (row.phase) assert.equal(plan.status?.phase, row.phase);
      if (row.reason) assert.equal(plan.status?.reason, row.reason);
      if (row.message) assert.match(plan.status?.message ?? '', row.message);
      if (row.settled !== undefined) assert.equal(plan.status?.settled, row.settled);
      if (row.succeeded) assert.equal(conditionOf(plan, 'Succeeded'), row.succeeded);
      if (row.delivered) assert.equal(conditionOf(plan, 'CallbacksDelivered'), row.delivered);
      const waiting = (plan.status?.outbox ?? []).map(({ type }) => type);
      if (row.outbox) assert.deepEqual(waiting, row.outbox);
      const parts = Object.keys(row.status ?? {}).map((key) => [key, Reflect.get(plan.status ?? {}, key)]);
      assert.deepEqual(Object.fromEntries(parts), row.status ?? {});
    });

    it(`${name}, writes what the API accepts`, () => {
      const { status } = planTask(row.given);
      if (status) assert.deepEqual(taskStatus.parse(status), status);
    });

    it(`${name}, then settles`, () => {
      let world = row.given;
      for (let round = 0; round < 12; round++) world = after(world, planTask(world));
      const last = planTask({ ...world, now: new Date(world.now.getTime() + 1) });
      assert.deepEqual(
        deeds(last).filter((deed) => !deed.startsWith('read')),
        [],
      );
      assert.equal(last.status, world.task.status, 'the very same status: no write');
    });
  }
});
