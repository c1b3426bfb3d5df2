import { aJob, aModel, aPod, aTask, claimed, NOW, runningState } from '../../../jobs/testing/fixtures.ts';
import { complete, held, partial, type Rows, running, withStatus } from './rows.ts';
import { seen } from './seen.ts';

/** Tasks whose end somebody outside has to learn. */
export const reportRows: Rows = {
  'stops a deleted task that somebody outside waits for': {
    given: seen({
      task: held(withStatus(running), NOW.toISOString()),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    does: [`delete job ${aJob().metadata.name.slice(0, 7)}`],
    reason: 'Cancelling',
  },
  'starts nothing for a deleted task that somebody outside waits for': {
    given: seen({ task: held(aTask(), NOW.toISOString()) }),
    does: [],
    phase: 'Cancelled',
  },
  'leaves a finished task unsettled until its end was reported': {
    given: seen({
      task: held(withStatus(running)),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: complete })],
      live: true,
    }),
    phase: 'Succeeded',
    settled: false,
  },
  'settles a finished task whose end was reported': {
    given: seen({ task: withStatus(claimed({ phase: 'Succeeded', reason: 'Published', settled: false })) }),
    does: [],
    phase: 'Succeeded',
    settled: true,
  },
  'counts a partial result as failure where the catalogue says so': {
    given: seen({
      model: { ok: true, model: aModel({ failure: { onPartial: 'Fail' } }) },
      task: withStatus(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: partial })],
      live: true,
    }),
    phase: 'PartiallySucceeded',
    succeeded: 'False',
  },
  'counts a partial result as success otherwise': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: partial })],
      live: true,
    }),
    phase: 'PartiallySucceeded',
    succeeded: 'True',
  },
};
