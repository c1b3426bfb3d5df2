import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { AnalysisTask } from '../api/objects.ts';
import { taskSpec } from '../api/task.ts';
import { type Action, planRound, type World } from './plan.ts';
import {
  aRun,
  aWorld,
  cancelled,
  estimated,
  failed,
  listed,
  partial,
  partialFailure,
  retrying,
  running,
  succeeded,
  UID,
  waiting,
} from './testing/fixtures.ts';
import { ELSI_STATUSES, rankOf } from './wire.ts';

/** What a round does, in words. */
function deeds(actions: readonly Action[]): string[] {
  return actions.map((action) => {
    switch (action.do) {
      case 'create':
        return `create ${action.object.metadata.name?.replace(UID, 'uid')}`;
      case 'put':
        return `put ${action.status}`;
      case 'estimate':
        return `estimate ${action.seconds}`;
      case 'acknowledge':
        return `acknowledge ${action.shown}`;
      case 'cancel':
      case 'look':
        return action.do;
      case 'reject':
        return action.tell ? 'reject and tell' : 'reject';
    }
  });
}

const policies = { dropped: 'Ignore', changed: 'Ignore', orphanedRunning: 'Ignore' } as const;

const table: Readonly<Record<string, readonly [given: World, does: string[]]>> = {
  'a waiting task becomes a run': [aWorld([listed()], []), ['create elsi-uid']],
  'a task that has a run is left alone while it waits': [aWorld([listed()], [aRun({ status: waiting })]), []],
  'a run without a status yet is waited for': [aWorld([listed()], [aRun()]), []],
  'RUNNING is told only when the model runs': [
    aWorld([listed()], [aRun({ status: running })]),
    ['put RUNNING'],
  ],
  'RUNNING is not told twice': [aWorld([listed({ status: 'RUNNING' })], [aRun({ status: running })]), []],
  'the estimate follows when it is known': [
    aWorld([listed({ status: 'RUNNING', estimatedSeconds: 0 })], [aRun({ status: estimated })]),
    ['estimate 600'],
  ],
  'an estimate that is far off is corrected': [
    aWorld([listed({ status: 'RUNNING', estimatedSeconds: 400 })], [aRun({ status: estimated })]),
    ['estimate 600'],
  ],
  'an estimate that is near stays': [
    aWorld([listed({ status: 'RUNNING', estimatedSeconds: 540 })], [aRun({ status: estimated })]),
    [],
  ],
  'no estimate is told to an ELSI that shows none, nor to a task that only waits there': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: estimated })]),
    [],
  ],
  'a further attempt takes nothing back': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: retrying })]),
    [],
  ],
  'COMPLETED is told at the end': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: succeeded })]),
    ['put COMPLETED'],
  ],
  'an end that came before RUNNING was told is told at once': [
    aWorld([listed()], [aRun({ status: succeeded })]),
    ['put COMPLETED'],
  ],
  'a partial result counts as the model says: complete': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: partial })]),
    ['put COMPLETED'],
  ],
  'a partial result counts as the model says: failed': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: partialFailure })]),
    ['put FAILED'],
  ],
  'FAILED is told': [aWorld([listed({ status: 'RUNNING' })], [aRun({ status: failed })]), ['put FAILED']],
  'a cancelled run is FAILED': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: cancelled })]),
    ['put FAILED'],
  ],
  'an end that ELSI shows is acknowledged': [
    aWorld([listed({ status: 'COMPLETED' })], [aRun({ status: succeeded })]),
    ['acknowledge COMPLETED'],
  ],
  'an acknowledged end needs nothing more': [
    aWorld([listed({ status: 'COMPLETED' })], [aRun({ status: succeeded, acknowledged: true })]),
    [],
  ],
  'another end that ELSI shows stays': [
    aWorld([listed({ status: 'FAILED' })], [aRun({ status: succeeded })]),
    ['acknowledge FAILED'],
  ],
  'PENDING again after COMPLETED runs nothing and is told again': [
    aWorld([listed()], [aRun({ status: succeeded, acknowledged: true })]),
    ['put COMPLETED'],
  ],
  'PENDING after a FAILED that ELSI never showed is no retry': [
    aWorld([listed()], [aRun({ status: failed })]),
    ['put FAILED'],
  ],
  'PENDING again after FAILED is a retry': [
    aWorld([listed()], [aRun({ status: failed, acknowledged: true })]),
    ['create elsi-uid-r2'],
  ],
  'PENDING again after a cancel is a retry': [
    aWorld([listed()], [aRun({ status: cancelled, acknowledged: true })]),
    ['create elsi-uid-r2'],
  ],
  'RUNNING after an acknowledged FAILED is no retry': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: failed, acknowledged: true })]),
    ['put FAILED'],
  ],
  'a third run follows the second': [
    aWorld(
      [listed()],
      [
        aRun({ run: 2, status: failed, acknowledged: true }),
        aRun({ run: 1, status: failed, acknowledged: true }),
      ],
    ),
    ['create elsi-uid-r3'],
  ],
  'the newest run speaks for the task': [
    aWorld(
      [listed()],
      [aRun({ run: 1, status: failed, acknowledged: true }), aRun({ run: 2, status: running })],
    ),
    ['put RUNNING'],
  ],
  'a deleted run is followed to its end': [
    aWorld([listed({ status: 'RUNNING' })], [aRun({ status: cancelled, deleted: true })]),
    ['put FAILED'],
  ],
  'an unknown model is rejected and told': [aWorld([listed({ model: 'gpt' })], []), ['reject and tell']],
  'a dataset that leaves the store is rejected and told': [
    aWorld([listed({ datasetLabel: '../../etc' })], []),
    ['reject and tell'],
  ],
  'an item without a uid is rejected in silence': [
    aWorld([], [], {
      listed: { tasks: new Map(), bad: [{ uid: undefined, status: undefined, problem: 'no uid' }] },
    }),
    ['reject'],
  ],
  'an unreadable item that waits is told FAILED': [
    aWorld([], [], {
      listed: { tasks: new Map(), bad: [{ uid: UID, status: 'PENDING', problem: 'no model' }] },
    }),
    ['reject and tell'],
  ],
  'an unreadable item with a run is left to the run': [
    aWorld([], [aRun({ status: running })], {
      listed: { tasks: new Map(), bad: [{ uid: UID, status: 'PENDING', problem: 'no model' }] },
    }),
    ['reject'],
  ],
  'a finished task without a run is history': [aWorld([listed({ status: 'COMPLETED' })], []), []],
  'RUNNING without a run is ignored by default': [aWorld([listed({ status: 'RUNNING' })], []), []],
  'RUNNING without a run is adopted on request': [
    aWorld([listed({ status: 'RUNNING' })], [], { policies: { ...policies, orphanedRunning: 'Adopt' } }),
    ['create elsi-uid'],
  ],
  'RUNNING without a run fails on request': [
    aWorld([listed({ status: 'RUNNING' })], [], { policies: { ...policies, orphanedRunning: 'Fail' } }),
    ['put FAILED'],
  ],
  'a task that left the list once runs on': [aWorld([], [aRun({ status: running })]), []],
  'a task that left the list for good runs on by default': [
    aWorld([], [aRun({ status: running })], { missing: new Set([UID]) }),
    [],
  ],
  'a task that left the list for good is cancelled on request': [
    aWorld([], [aRun({ status: running })], {
      missing: new Set([UID]),
      policies: { ...policies, dropped: 'Cancel' },
    }),
    ['cancel'],
  ],
  'the end of a task that left the list is looked up': [
    aWorld([], [aRun({ status: failed })], { missing: new Set([UID]) }),
    ['look'],
  ],
  'another model is ignored by default': [
    aWorld([listed({ model: 'alice' })], [aRun({ status: waiting })]),
    [],
  ],
  'another model cancels on request': [
    aWorld([listed({ model: 'alice' })], [aRun({ status: waiting })], {
      policies: { ...policies, changed: 'Cancel' },
    }),
    ['cancel'],
  ],
  'an end that ELSI decided cancels on request': [
    aWorld([listed({ status: 'FAILED' })], [aRun({ status: running })], {
      policies: { ...policies, changed: 'Cancel' },
    }),
    ['cancel'],
  ],
  'an end that ELSI decided is ignored by default': [
    aWorld([listed({ status: 'FAILED' })], [aRun({ status: running })]),
    [],
  ],
};

describe('planRound()', () => {
  for (const [name, [given, does]] of Object.entries(table))
    it(name, () => assert.deepEqual(deeds(planRound(given)), does));

  it('creates what the API accepts', () => {
    const [action] = planRound(aWorld([listed()], []));
    assert.equal(action?.do, 'create');
    const { spec, metadata } = action.object;
    assert.deepEqual(taskSpec.parse(spec).outputName, UID);
    assert.ok(metadata.finalizers?.includes('analysis.elsi.dev/elsi'));
  });
});

const statuses = [
  undefined,
  waiting,
  running,
  retrying,
  succeeded,
  partial,
  partialFailure,
  failed,
  cancelled,
  estimated,
];
const anyRun = fc
  .record({ status: fc.constantFrom(...statuses), acknowledged: fc.boolean(), deleted: fc.boolean() })
  .map(({ status, ...rest }) => aRun({ ...rest, ...(status ? { status } : {}) }));
const anyTask = fc
  .record({ status: fc.constantFrom(...ELSI_STATUSES), shown: fc.constantFrom(undefined, 0, 550, 9000) })
  .map(({ status, shown }) =>
    listed({ status, ...(shown === undefined ? {} : { estimatedSeconds: shown }) }),
  );

/** The world after the actions, had ELSI and the cluster done all of them. */
function after(world: World, actions: readonly Action[]): World {
  const tasks = new Map(world.listed.tasks);
  let runs: AnalysisTask[] = [...world.runs];
  for (const action of actions) {
    const task = tasks.get(UID);
    if (action.do === 'put' && task) tasks.set(UID, { ...task, status: action.status });
    if (action.do === 'estimate' && task) tasks.set(UID, { ...task, estimatedSeconds: action.seconds });
    if (action.do === 'acknowledge')
      runs = runs.map((run) => ({ ...run, metadata: { ...run.metadata, finalizers: [] } }));
    if (action.do === 'create') runs = [...runs, aRun({ run: runs.length + 1 })];
  }
  return { ...world, listed: { ...world.listed, tasks }, runs };
}

describe('planRound(), whatever ELSI shows and however the run is', () => {
  it('never takes a status back', () => {
    fc.assert(
      fc.property(anyTask, anyRun, (task, run) => {
        for (const action of planRound(aWorld([task], [run])))
          if (action.do === 'put') assert.ok(rankOf(action.status) > rankOf(task.status));
      }),
    );
  });

  it('settles: three rounds later there is nothing left to do', () => {
    fc.assert(
      fc.property(anyTask, fc.option(anyRun), (task, run) => {
        let world = aWorld([task], run ? [run] : []);
        for (let round = 0; round < 3; round++) world = after(world, planRound(world));
        assert.deepEqual(deeds(planRound(world)), []);
      }),
    );
  });

  it('runs nothing again that has succeeded', () => {
    fc.assert(
      fc.property(anyTask, fc.boolean(), (task, acknowledged) => {
        const actions = planRound(aWorld([task], [aRun({ status: succeeded, acknowledged })]));
        assert.ok(!actions.some((action) => action.do === 'create'));
      }),
    );
  });
});
