import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { API_VERSION } from '../../src/api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../src/api/objects.ts';
import { runName } from '../../src/elsi/run.ts';
import type { Delivery } from '../../test/faults/rig/sink.ts';
import { type Aftermath, callbacksAgree, elsiAgrees, openTasks, trueEnds } from './judge.ts';
import type { Behaviour, PlannedTask } from './plan.ts';

const UID = '5d8c3f6a-0c0e-4f0a-9d2e-5b1a3c7e9f10';
const AT = '2026-01-01T10:00:00Z';

const person = (more: Partial<PlannedTask> = {}): PlannedTask => ({
  atSeconds: 0,
  way: 'kubectl',
  name: 'storm-1',
  behaviour: 'good',
  seconds: 5,
  hasCallback: false,
  hand: undefined,
  ...more,
});
const hand = (what: 'cancel' | 'delete' | 'retry') => ({ what, afterSeconds: 1, forSeconds: 1 });

function ended(end: string, name = 'storm-1'): AnalysisTask {
  const [phase, reason] = end.split('/');
  return analysisTask.parse({
    apiVersion: API_VERSION,
    kind: 'AnalysisTask',
    metadata: { name, namespace: 'n', uid: name, resourceVersion: '1', creationTimestamp: AT },
    spec: { model: 'm', dataset: { path: 'd' } },
    status: { phase, reason, settled: true, finishedAt: '2026-01-01T10:01:00Z' },
  });
}

const aftermath = (
  planned: PlannedTask,
  tasks: readonly AnalysisTask[],
  diskFull: Aftermath['diskFull'] = [],
): Aftermath => ({ people: [planned], tasks, diskFull });

const DISK_FULL = [{ fromMs: Date.parse('2026-01-01T10:00:30Z'), toMs: Date.parse('2026-01-01T10:00:50Z') }];
const DISK_FULL_LATER = [
  { fromMs: Date.parse('2026-01-01T11:00:00Z'), toMs: Date.parse('2026-01-01T11:01:00Z') },
];

describe('the judge of a storm: true ends', () => {
  const GOOD: Readonly<Record<string, Aftermath>> = {
    'a good task that succeeded': aftermath(person(), [ended('Succeeded/Published')]),
    'a cancelled one, either way': aftermath(person({ hand: hand('cancel') }), [
      ended('Cancelled/Cancelled'),
    ]),
    'a deleted one that is gone': aftermath(person({ hand: hand('delete') }), []),
    'one that met the full disk': aftermath(person(), [ended('Failed/Storage')], DISK_FULL),
    'a retry of ELSI with both of its runs': aftermath(
      person({ way: 'elsi', name: UID, behaviour: 'fail', hand: hand('retry') }),
      [ended('Failed/ModelError', runName(UID, 1)), ended('Failed/ModelError', runName(UID, 2))],
    ),
    'an unknown model of ELSI, without a task': aftermath(
      person({ way: 'elsi', name: UID, behaviour: 'unknown' }),
      [],
    ),
  };
  for (const [title, given] of Object.entries(GOOD))
    it(`${title}: nothing`, () => {
      assert.deepEqual([trueEnds(given), openTasks(given.people, given.tasks)], [[], []]);
    });

  const BAD: Readonly<Record<string, readonly [Aftermath, RegExp]>> = {
    'a task that is lost': [aftermath(person(), []), /asked for and is not there/],
    'a failure of a good task': [
      aftermath(person(), [ended('Failed/NodeLost')]),
      /\(good\) is Failed\/NodeLost/,
    ],
    'a success of a model that lied': [
      aftermath(person({ behaviour: 'nothing' }), [ended('Succeeded/Published')]),
      /\(nothing\) is Succeeded/,
    ],
    'one that nobody cancelled': [aftermath(person(), [ended('Cancelled/Cancelled')]), /is Cancelled/],
    'a deleted one that is there': [
      aftermath(person({ hand: hand('delete') }), [ended('Cancelled/Cancelled')]),
      /still there/,
    ],
    'storage, when the disk was not full': [
      aftermath(person(), [ended('Failed/Storage')], DISK_FULL_LATER),
      /is Failed\/Storage/,
    ],
    'a task that nobody asked for': [
      aftermath(person(), [ended('Succeeded/Published'), ended('Succeeded/Published', 'storm-2')]),
      /nobody asked for storm-2/,
    ],
  };
  for (const [title, [given, expected]] of Object.entries(BAD))
    it(`${title}: told`, () => assert.match(trueEnds(given).join(), expected));

  it('a task that is not settled is open', () => {
    const running = { ...ended('Running/Running'), status: { phase: 'Running' as const } };
    assert.deepEqual(openTasks([person()], [running]), ['storm-1']);
  });
});

describe('the judge of a storm: ELSI', () => {
  const judge = (
    behaviour: Behaviour,
    {
      end,
      shown,
      told,
      isRetried = false,
    }: { end: string; shown: string; told: readonly string[]; isRetried?: boolean },
  ): string[] => {
    const planned = person({
      way: 'elsi',
      name: UID,
      behaviour,
      ...(isRetried ? { hand: hand('retry') } : {}),
    });
    const words = { model_name: 'm', dataset_uid_label: 'd', dataset_name: 'd', user_uid: 'u' };
    const times = { created: AT, modified: AT, estimated_duration: 0 };
    const task = { task_uid: UID, status_label: shown, ...words, ...times };
    const audit = told.map((status) => ({ at: AT, uid: UID, before: '', status }));
    return elsiAgrees(aftermath(planned, [ended(end, runName(UID, 1))]), {
      tasks: new Map([[UID, task]]),
      audit,
    });
  };
  const success = { end: 'Succeeded/Published', shown: 'COMPLETED' };
  const failure = { end: 'Failed/ModelError', shown: 'FAILED' };

  it('is content with a start and an end, also when each was told twice', () => {
    assert.deepEqual(judge('good', { ...success, told: ['RUNNING', 'COMPLETED'] }), []);
    assert.deepEqual(
      judge('good', { ...success, told: ['RUNNING', 'RUNNING', 'COMPLETED', 'COMPLETED'] }),
      [],
    );
    assert.deepEqual(judge('good', { ...success, told: ['COMPLETED'] }), []);
  });
  it('is content with a retry, whose end is told again', () => {
    const told = ['RUNNING', 'FAILED', 'RUNNING', 'FAILED'];
    assert.deepEqual(judge('fail', { ...failure, told, isRetried: true }), []);
  });
  it('tells of an end that never came, of another one, and of a status that went back', () => {
    assert.equal(judge('good', { ...success, shown: 'RUNNING', told: ['RUNNING'] }).length, 2);
    assert.equal(judge('fail', { ...failure, shown: 'COMPLETED', told: ['COMPLETED'] }).length, 2);
    assert.equal(judge('good', { ...success, told: ['COMPLETED', 'RUNNING', 'COMPLETED'] }).length, 1);
  });
});

describe('the judge of a storm: callbacks', () => {
  const delivery = (id: string, word: string, name = 'storm-1'): Delivery => ({
    event: { id, type: `task.${word}`, sequence: '1', data: { task: { name } } },
    body: Buffer.from(''),
    headers: {},
    atMs: 0,
  });
  const judge = (deliveries: readonly Delivery[], refused: readonly string[] = []): string[] =>
    callbacksAgree(aftermath(person({ hasCallback: true }), [ended('Succeeded/Published')]), {
      deliveries,
      refused,
    });

  it('is content with a start and an end, each as often as it likes under one id', () => {
    assert.deepEqual(
      judge([delivery('a', 'started'), delivery('a', 'started'), delivery('b', 'succeeded')]),
      [],
    );
  });
  it('tells of nothing, of two ids for one end, of a start after the end, of another end and of a bad signature', () => {
    assert.match(judge([]).join(), /took nothing of storm-1/);
    assert.equal(judge([delivery('a', 'succeeded'), delivery('b', 'succeeded')]).length, 1);
    assert.equal(judge([delivery('b', 'succeeded'), delivery('a', 'started')]).length, 1);
    assert.equal(judge([delivery('a', 'failed')]).length, 1);
    assert.equal(judge([delivery('a', 'succeeded')], ['bad signature']).length, 1);
  });
});
