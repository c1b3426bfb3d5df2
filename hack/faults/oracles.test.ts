import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { TaskStatus } from '../../src/api/task.ts';
import type { Created, History, TaskWrite } from '../../test/faults/rig/history.ts';
import { foreignLabels, violationsOf } from '../../test/faults/rig/oracles.ts';

const attempt = (number: number, jobUID?: string) => ({
  number,
  jobName: `t-${number}`,
  claimedBy: 'x',
  claimedAt: '2026-01-01T00:00:00Z',
  ...(jobUID === undefined ? {} : { jobUID }),
});

let version = 0;
const write = (status: TaskStatus): TaskWrite => ({ uid: 'uid', name: 't', version: ++version, status });
const claim = (number: number): TaskWrite =>
  write({ phase: 'Pending', reason: 'Starting', attempt: attempt(number) });
const created = (change: Partial<Created> = {}): Created => ({
  uid: 'job',
  name: 't-1',
  version: ++version,
  owner: 'uid',
  attempt: 1,
  byOperator: true,
  ...change,
});
const event = (id: string) => ({
  id,
  type: 'started',
  sequence: 1,
  endpoint: 'lab',
  time: '2026-01-01T00:00:00Z',
});
const waiting = (id: string): TaskWrite =>
  write({ phase: 'Running', attempt: attempt(1), outbox: [event(id)] });

const history = (change: Partial<History>): History => ({
  taskWrites: [],
  jobs: [],
  pods: [],
  deletions: [],
  releases: new Map(),
  suspensions: [],
  operatorWrites: [],
  ...change,
});
const run = { task: 't', taskUid: 'uid', attempt: 1, published: 0 };

/** Each: a history in which one thing went wrong, and how the violation begins. */
const BROKEN: Readonly<
  Record<string, readonly [says: RegExp, History, ledger?: Parameters<typeof violationsOf>[1]]>
> = {
  'two Jobs for one attempt': [
    /^O2 2 Jobs/,
    history({ taskWrites: [claim(1)], jobs: [created(), created({ uid: 'other' })] }),
  ],
  'two pods for one Job': [
    /^O2 2 pods/,
    history({ pods: [created({ owner: 'job' }), created({ owner: 'job', uid: 'other' })] }),
  ],
  'a Job that nothing claimed': [/^I2 t-1 was created/, history({ jobs: [created()] })],
  'a Job that was claimed too late': [
    /^I2 t-1 was created/,
    history({ jobs: [created()], taskWrites: [claim(1)] }),
  ],
  'a Job of another attempt than the one that was claimed': [
    /^I2 t-1 was created/,
    history({ taskWrites: [claim(2)], jobs: [created()] }),
  ],
  'a Job of another name than the one that was claimed': [
    /^I2 t-9 was created/,
    history({ taskWrites: [claim(1)], jobs: [created({ name: 't-9' })] }),
  ],
  'an attempt that goes down': [/^O7 the status went back/, history({ taskWrites: [claim(2), claim(1)] })],
  'a phase that goes back': [
    /^O7 the status went back/,
    history({ taskWrites: [write({ phase: 'Running', attempt: attempt(1) }), claim(1)] }),
  ],
  'a terminal phase that changes': [
    /^O7 a terminal phase changed/,
    history({ taskWrites: [write({ phase: 'Failed' }), write({ phase: 'Succeeded' })] }),
  ],
  'a UID that changes within an attempt': [
    /^O7 the Job's UID changed/,
    history({
      taskWrites: [write({ attempt: attempt(1, 'a') }), write({ attempt: attempt(1, 'b') })],
    }),
  ],
  'an event with two ids': [
    /^I7 started of t to lab has 2/,
    history({ taskWrites: [waiting('a'), waiting('b')] }),
  ],
  'a task that settles and owes an event': [
    /^I7 t was settled while/,
    history({ taskWrites: [write({ phase: 'Failed', settled: true, outbox: [event('a')] })] }),
  ],
  'a deletion by name': [
    /^I12 jobs\/t-1 was deleted without/,
    history({ deletions: [{ resource: 'jobs', name: 't-1', uid: undefined, code: 200 }] }),
  ],
  'a write of spec.suspend': [/^I-suspend/, history({ suspensions: ['patch jobs t-1: 200'] })],
  'two containers at once': [
    /^I3 two model containers/,
    history({}),
    [
      { ...run, pod: 'a', startedMs: 0, endedMs: 20 },
      { ...run, pod: 'b', startedMs: 10, endedMs: 30 },
    ],
  ],
};

describe('the oracles of the fault matrix', () => {
  for (const [what, [says, broken, ledger = []]] of Object.entries(BROKEN))
    it(`tell of ${what}`, () => {
      const violations = violationsOf(broken, ledger);
      assert.equal(violations.length, 1, violations.join('\n'));
      assert.match(violations[0] ?? '', says);
    });

  it('say nothing of a history in which all is right', () => {
    const taskWrites = [claim(1)];
    const jobs = [created(), created({ name: 'theirs', owner: 'theirs', byOperator: false })];
    const pods = [created({ name: 'pod', owner: 'job', byOperator: false })];
    taskWrites.push(waiting('a'), write({ phase: 'Succeeded', attempt: attempt(1), settled: true }));
    assert.deepEqual(violationsOf(history({ taskWrites, jobs, pods }), []), []);
  });

  it('tell of a label that names an object, of a label of its own, and of a page that grows', () => {
    const series = 'work_total{controller="task",result="success"} 1\n';
    assert.deepEqual(foreignLabels(`# HELP work_total x\n${series}`, ['vtc-1-abc']), []);
    assert.match(foreignLabels('work_total{name="vtc-1-abc"} 1', ['vtc-1-abc']).join(), /names vtc-1-abc/);
    assert.match(foreignLabels('work_total{task="x"} 1', []).join(), /has the label "task"/);
    assert.match(foreignLabels(series.repeat(3000), []).join(), /3000 series/);
  });
});
