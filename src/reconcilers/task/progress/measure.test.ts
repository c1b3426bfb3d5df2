import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { WorkReport } from '../../../api/request.ts';
import { aPod, aTask, claimed } from '../../../jobs/testing/fixtures.ts';
import type { ContainerView, PodView } from '../../../jobs/views.ts';
import { measuredBy } from './measure.ts';
import { seen } from '../testing/seen.ts';

const WORK: WorkReport = { effort: 'AudioSeconds', done: 1000, failed: 0 };
const model = (more: Partial<ContainerView> = {}, finishedAt = '2026-03-01T12:01:40Z'): ContainerView => ({
  name: 'model',
  state: { terminated: { exitCode: 0, startedAt: '2026-03-01T12:00:00Z', finishedAt } },
  restartCount: 0,
  ...more,
});
const podWith = (container: ContainerView): PodView => aPod({}, { containers: [container] });
const measured = (
  pod: PodView | undefined,
  work: WorkReport | undefined = WORK,
  task = aTask({}, claimed()),
) =>
  measuredBy(seen({ task }), {
    is: 'succeeded',
    pod,
    report: { v: 1, message: '', ...(work ? { work } : {}) },
  });

describe('measuredBy()', () => {
  it('is the work of the pod and the time of its model', () => {
    assert.deepEqual(measured(podWith(model())), {
      model: { name: 'vad-1-0', uid: 'model-uid' },
      node: 'gpu-1',
      effort: 'AudioSeconds',
      amount: 1000,
      seconds: 100,
    });
  });

  it('counts what ended well when few units failed', () => {
    assert.equal(measured(podWith(model()), { ...WORK, failed: 90 })?.amount, 1000);
  });

  const nothing: Readonly<Record<string, ReturnType<typeof measured>>> = {
    'the pod is gone': measured(undefined),
    'an agent of an earlier version published': measuredBy(seen({ task: aTask({}, claimed()) }), {
      is: 'succeeded',
      pod: podWith(model()),
      report: { v: 1, message: '' },
    }),
    'the report is gone': measuredBy(seen({ task: aTask({}, claimed()) }), {
      is: 'succeeded',
      pod: podWith(model()),
      report: undefined,
    }),
    'everything was done before': measured(podWith(model()), { ...WORK, done: 0 }),
    'many units failed': measured(podWith(model()), { ...WORK, failed: 400 }),
    'the model started twice, and only its last run has times': measured(podWith(model({ restartCount: 1 }))),
    'the run was shorter than kubelet can tell': measured(podWith(model({}, '2026-03-01T12:00:02Z'))),
    'the clock of the node went back': measured(podWith(model({}, '2026-03-01T11:00:00Z'))),
    'the times make no sense': measured(podWith(model({}, 'yesterday'))),
    'the model has not ended': measured(podWith(model({ state: { running: {} } }))),
    'the task is bound to no model': measured(podWith(model()), WORK, aTask({}, { phase: 'Running' })),
  };
  for (const [when, result] of Object.entries(nothing)) {
    it(`is nothing when ${when}`, () => assert.equal(result, undefined));
  }
});
