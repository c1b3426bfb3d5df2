import { aJob, aModel, aPod, aTask, claimed, NOW, runningState } from '../../../jobs/testing/fixtures.ts';
import type { AnalysisTask } from '../../../api/objects.ts';
import type { OutboxEntry, TaskStatus } from '../../../api/task.ts';
import type { Observed } from '../observed.ts';
import { complete, held, partial, type Rows, running, withStatus } from './rows.ts';
import { seen } from './seen.ts';

const callbacks = ['lab'];
const policy: Observed['policy'] = {
  ...seen().policy,
  callbacks: { lab: { events: ['started', 'succeeded', 'failed', 'cancelled'], namespaces: [] } },
};
const told = (status: TaskStatus): AnalysisTask =>
  held(withStatus(status, { callbacks }), { by: 'callbacks' });
const event: OutboxEntry = {
  id: 'evt_1',
  type: 'dev.elsi.analysis.task.succeeded',
  sequence: 2,
  endpoint: 'lab',
  time: NOW.toISOString(),
};
const ended = claimed({ phase: 'Succeeded', reason: 'Published', settled: false, outbox: [event] });

/** Tasks whose end somebody outside has to learn. */
export const reportRows: Rows = {
  'holds a task with callbacks before it decides anything': {
    given: seen({ policy, task: aTask({ callbacks }) }),
    does: ['hold for analysis.elsi.dev/callbacks'],
  },
  'starts a task with callbacks once it is held': {
    given: seen({ policy, task: held(aTask({ callbacks }), { by: 'callbacks' }) }),
    does: ['claim and create'],
    outbox: [],
  },
  'refuses an endpoint of another namespace': {
    given: seen({
      policy: { ...policy, callbacks: { lab: { events: ['failed'], namespaces: ['other'] } } },
      task: held(aTask({ callbacks }), { by: 'callbacks' }),
    }),
    phase: 'Failed',
    message: /endpoint "lab", which this task may not use: .* none for this namespace/,
    outbox: [],
  },
  'tells that the model started': {
    given: seen({
      policy,
      task: told(claimed()),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    phase: 'Running',
    outbox: ['dev.elsi.analysis.task.started'],
  },
  'does not tell the start again when a further attempt starts': {
    given: seen({
      policy,
      task: told(claimed({ startedAt: '2026-03-01T11:00:00Z' })),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    phase: 'Running',
    outbox: [],
  },
  'tells the end in the write that makes it true': {
    given: seen({
      policy,
      task: told(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: complete })],
      live: true,
    }),
    phase: 'Succeeded',
    settled: false,
    outbox: ['dev.elsi.analysis.task.succeeded'],
  },
  'tells no event that the endpoint does not want': {
    given: seen({
      policy: { ...policy, callbacks: { lab: { events: ['failed'], namespaces: [] } } },
      task: told(running),
      jobs: [aJob('Complete')],
      pods: [aPod({ publish: complete })],
      live: true,
    }),
    phase: 'Succeeded',
    outbox: [],
  },
  'waits while an event is not delivered': {
    given: seen({ policy, task: told(ended) }),
    does: [],
    settled: false,
    outbox: ['dev.elsi.analysis.task.succeeded'],
  },
  'lets go of a task whose events were delivered': {
    given: seen({ policy, task: told(ended), callbacks: new Map([['evt_1', 'delivered']]) }),
    does: ['hold for nobody'],
  },
  'settles once it is let go of': {
    given: seen({
      policy,
      task: withStatus(ended, { callbacks }),
      callbacks: new Map([['evt_1', 'delivered']]),
    }),
    does: [],
    settled: true,
    outbox: [],
  },
  'settles with a given-up event and says so': {
    given: seen({
      policy,
      task: withStatus(ended, { callbacks }),
      callbacks: new Map([['evt_1', 'givenUp']]),
    }),
    settled: true,
    delivered: 'False',
  },
  'stops a deleted task that somebody outside waits for': {
    given: seen({
      task: held(withStatus(running), { deletedAt: NOW.toISOString() }),
      jobs: [aJob()],
      pods: [aPod({ model: runningState })],
    }),
    does: [`delete job ${aJob().metadata.name.slice(0, 7)}`],
    reason: 'Cancelling',
  },
  'starts nothing for a deleted task that somebody outside waits for': {
    given: seen({ task: held(aTask(), { deletedAt: NOW.toISOString() }) }),
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
