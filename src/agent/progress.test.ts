import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import type { ProgressReport } from '../api/request.ts';
import { Progress } from './progress.ts';

const IDS = { taskUID: 'task-1', podUID: 'pod-1' };

type State = 'run' | 'reused' | 'refused';

function progressOf(efforts: readonly (readonly [effort: number, state: State])[]): Progress {
  const progress = new Progress('Bytes');
  for (const [effort, state] of efforts) progress.expect({ effort, state });
  return progress;
}

function told({ unitsDone, unitsTotal, unitsFailed, percent, work }: ProgressReport): unknown[] {
  return [unitsDone, unitsTotal, unitsFailed, percent, work?.done, work?.left, work?.sinceSeconds];
}

describe('Progress', () => {
  it('goes by effort, not by the number of units', () => {
    const progress = progressOf([
      [90, 'run'],
      [10, 'run'],
    ]);
    assert.deepEqual(told(progress.report(IDS, 0)), [0, 2, 0, 0, 0, 100, 0]);
    progress.end({ effort: 90, state: 'run' }, true, 45);
    assert.deepEqual(told(progress.report(IDS, 48)), [1, 2, 0, 90, 90, 10, 3]);
    progress.end({ effort: 10, state: 'run' }, false, 50);
    assert.deepEqual(told(progress.report(IDS, 50)), [1, 2, 1, 100, 100, 0, 0]);
  });

  it('counts what was finished before as done, but not as work of this pod', () => {
    const progress = progressOf([
      [50, 'reused'],
      [10, 'refused'],
      [20, 'run'],
      [20, 'run'],
    ]);
    assert.deepEqual(told(progress.report(IDS, 3)), [1, 4, 1, 60, 0, 40, 3]);
    progress.end({ effort: 20, state: 'run' }, true, 10);
    assert.deepEqual(told(progress.report(IDS, 10)), [2, 4, 1, 80, 20, 20, 0]);
  });

  it('counts units where nothing tells their effort', () => {
    const progress = progressOf([
      [0, 'run'],
      [0, 'run'],
      [0, 'run'],
    ]);
    progress.end({ effort: 0, state: 'run' }, true, 4);
    assert.deepEqual(told(progress.report(IDS, 10)), [1, 3, 0, 33, 0, 0, 6]);
  });

  it('is at 100 % when every unit has ended, and not before', () => {
    const efforts = Array.from({ length: 10 }, () => [0.1, 'run'] as const);
    const progress = progressOf([...efforts, [0, 'run']]);
    for (const [effort, state] of efforts) progress.end({ effort, state }, true, 5);
    assert.equal(progress.report(IDS, 10).percent, 99);
    progress.end({ effort: 0, state: 'run' }, true, 9);
    assert.equal(progress.report(IDS, 10).percent, 100);
  });
});
