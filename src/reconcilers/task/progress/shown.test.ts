import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { LearntRate } from '../../../api/model.ts';
import type { ProgressReport } from '../../../api/request.ts';
import type { Phase, Progress } from '../../../api/task.ts';
import { aModel, aPod, aTask, claimed, NOW } from '../../../jobs/testing/fixtures.ts';
import { progressOf, progressWaitMs } from './shown.ts';
import { reported } from '../status.ts';
import { seen } from '../testing/seen.ts';

const POD = aPod();
const STARTED = new Date(NOW.getTime() - 100_000).toISOString();
const report = (more: Partial<ProgressReport> = {}): ProgressReport => ({
  taskUID: 'task-uid',
  podUID: 'pod-uid',
  unitsDone: 0,
  unitsTotal: 100,
  unitsFailed: 0,
  percent: 0,
  work: { effort: 'AudioSeconds', done: 0, left: 36_000, sinceSeconds: 100 },
  ...more,
});
const shown = (more: Partial<Progress> = {}): Progress => ({
  unitsDone: 0,
  unitsTotal: 100,
  unitsFailed: 0,
  percent: 0,
  summary: '0/100',
  ...more,
});
const rate: LearntRate = {
  gpu: 'A100',
  effort: 'AudioSeconds',
  p50: 0.1,
  p90: 0.15,
  samples: 3,
  summary: '',
  updatedAt: '2026-03-01T11:00:00Z',
};
/** `seconds` after now, as the status says it. */
const at = (seconds: number): string =>
  new Date(NOW.getTime() + seconds * 1000).toISOString().replace('.000Z', 'Z');

interface Given {
  readonly report?: ProgressReport;
  readonly before?: Progress;
  readonly pauseMs?: number;
  readonly rates?: LearntRate[];
  readonly guess?: number;
  readonly modelUid?: string;
}

const world = ({ report: told = report(), before, pauseMs = 60_000, rates, guess, modelUid }: Given) =>
  seen({
    task: aTask({}, claimed({ phase: 'Running', ...(before ? { progress: before } : {}) })),
    model: {
      ok: true,
      model: { ...aModel(guess === undefined ? {} : { rate: guess }, modelUid), status: { rates } },
    },
    progress: told,
    progressPauseMs: pauseMs,
    hardware: 'A100',
  });
const shows = (given: Given): Progress | undefined => progressOf(world(given), POD, STARTED);

describe('the estimate of a task that has just begun', () => {
  it('is its effort times what was learnt about the model', () => {
    const progress = shows({ rates: [rate] });
    assert.deepEqual([progress?.estimatedCompletion, progress?.estimatedCompletionP90], [at(3500), at(5300)]);
  });
  it('goes by the hardware that it runs on', () => {
    const rates = [{ ...rate, gpu: 'T4', p50: 1, p90: 1 }, rate];
    assert.equal(shows({ rates })?.estimatedCompletion, at(3500));
  });
  it('is seeded by the guess of the catalogue', () => {
    assert.equal(shows({ guess: 0.2 })?.estimatedCompletion, at(7100));
  });
  it('is missing while nothing is known', () => {
    assert.deepEqual(shows({}), shown());
  });
  it('takes nothing from a model that replaced its own', () => {
    assert.deepEqual(shows({ rates: [rate], modelUid: 'another' }), shown());
  });
  it('is missing while units without effort are left', () => {
    const work = { effort: 'AudioSeconds' as const, done: 0, left: 0, sinceSeconds: 1 };
    assert.deepEqual(shows({ rates: [rate], report: report({ work }) }), shown());
  });
  it('is what an agent of an earlier version says', () => {
    const { work: _, ...old } = report({ estimatedSecondsLeft: 30 });
    assert.equal(shows({ rates: [rate], report: old })?.estimatedCompletion, at(30));
  });
  it('is a date, whatever a pod tells', () => {
    const work = { effort: 'AudioSeconds' as const, done: 0, left: 1e300, sinceSeconds: 0 };
    assert.match(shows({ rates: [rate], report: report({ work }) })?.estimatedCompletion ?? '', /^2036-/);
  });
});

describe('the progress that is shown', () => {
  const work = { effort: 'AudioSeconds' as const, done: 7200, left: 28_800, sinceSeconds: 0 };
  it('goes by the own pace once a fifth is done', () => {
    const progress = shows({ rates: [rate], report: report({ unitsDone: 20, percent: 20, work }) });
    assert.equal(progress?.estimatedCompletion, at(400));
  });
  it('is not that of another pod', () => {
    assert.equal(shows({ report: report({ podUID: 'other' }) }), undefined);
    assert.equal(shows({ report: report({ taskUID: 'other' }) }), undefined);
  });

  interface Row {
    readonly before: Progress;
    readonly report: ProgressReport;
    readonly pauseMs: number;
    readonly isWritten: boolean;
  }
  const soon = { estimatedCompletion: at(3500), estimatedCompletionP90: at(5300) };
  const one = report({ unitsDone: 1, percent: 1 });
  const rows: Readonly<Record<string, Row>> = {
    'one unit more waits for its turn': { before: shown(soon), report: one, pauseMs: 1, isWritten: false },
    'one unit more, when it is its turn': { before: shown(soon), report: one, pauseMs: 0, isWritten: true },
    'five points more at once': {
      before: shown(soon),
      report: report({ unitsDone: 5, percent: 5 }),
      pauseMs: 1,
      isWritten: true,
    },
    'a failed unit at once': {
      before: shown(soon),
      report: report({ unitsFailed: 1, percent: 1 }),
      pauseMs: 1,
      isWritten: true,
    },
    'the first estimate at once': { before: shown(), report: report(), pauseMs: 1, isWritten: true },
    'fewer units never': {
      before: shown({ ...soon, percent: 10, unitsDone: 10, summary: '10/100' }),
      report: one,
      pauseMs: 0,
      isWritten: false,
    },
    'an estimate that moved by two minutes of an hour not': {
      before: shown({ estimatedCompletion: at(3380) }),
      report: report(),
      pauseMs: 0,
      isWritten: false,
    },
    'an estimate that moved by four minutes of an hour': {
      before: shown({ estimatedCompletion: at(3260) }),
      report: report(),
      pauseMs: 0,
      isWritten: true,
    },
    'an estimate that moved waits for its turn': {
      before: shown({ estimatedCompletion: at(100) }),
      report: report(),
      pauseMs: 1,
      isWritten: false,
    },
    'an estimate that moved by seconds of a short run not': {
      before: shown({ estimatedCompletion: at(0) }),
      report: report({ work: { effort: 'AudioSeconds', done: 0, left: 1400, sinceSeconds: 100 } }),
      pauseMs: 0,
      isWritten: false,
    },
  };
  for (const [name, { isWritten, ...given }] of Object.entries(rows)) {
    it(`${isWritten ? 'is written' : 'stays'}: ${name}`, () => {
      const next = shows({ ...given, rates: [rate] });
      assert.equal(next !== given.before, isWritten, JSON.stringify(next));
    });
  }
});

describe('an estimate', () => {
  const soon = shown({ estimatedCompletion: at(60), estimatedCompletionP90: at(90) });
  const after = (phase: Phase, reason: string) => {
    const task = aTask({}, claimed({ phase: 'Running', reason: 'Running', progress: soon }));
    return reported(seen({ task }), { phase, reason, message: '' })?.progress;
  };
  it('stays while the attempt works', () => {
    assert.deepEqual([after('Running', 'Running'), after('Running', 'Publishing')], [soon, soon]);
  });
  it('goes when the attempt waits, is being stopped or is over; the counts stay', () => {
    for (const [phase, reason] of [
      ['Running', 'Queued'],
      ['Pending', 'Retrying'],
      ['Pending', 'Stopping'],
      ['Failed', 'ModelError'],
      ['Cancelled', 'Cancelled'],
    ] as const)
      assert.deepEqual(after(phase, reason), shown(), reason);
  });
});

describe('progressWaitMs()', () => {
  it('brings the task back when what its pod told may be shown', () => {
    const behind = world({ report: report({ unitsDone: 1 }), pauseMs: 4000 });
    assert.equal(progressWaitMs(behind, shown()), 4000);
  });
  it('does not when it is shown already, or nothing is known', () => {
    assert.equal(progressWaitMs(world({ pauseMs: 4000 }), shown()), Number.POSITIVE_INFINITY);
    assert.equal(progressWaitMs(seen(), undefined), Number.POSITIVE_INFINITY);
  });
});
