import { aJob, aPod, claimed, ended, runningState } from '../../../jobs/testing/fixtures.ts';
import { running, type Rows, withStatus } from './rows.ts';
import { seen } from './seen.ts';

/** A pod that was told to stop ten minutes ago. */
const held = (states: Parameters<typeof aPod>[0] = { model: runningState }, graceSeconds = 30) =>
  aPod(states, {
    metadata: { ...aPod().metadata, deletionTimestamp: '2026-03-01T11:50:00Z' },
    deletionGraceSeconds: graceSeconds,
  });
const forcing = (forceDeleteAfterSeconds: number) => ({
  ...seen().policy,
  nodeLost: { afterSeconds: 60, forceDeleteAfterSeconds },
});
const stopping = {
  category: 'NodeLost',
  message: 'Node gpu-1 does not answer',
  since: '2026-03-01T11:59:00.000Z',
};

export const nodeLostRows: Rows = {
  'waits for a lost node, however long it takes': {
    given: seen({ task: withStatus(running), jobs: [aJob()], pods: [held()] }),
    does: [],
    phase: 'Running',
    reason: 'NodeLost',
    message: /gpu-1.*out-of-service/,
  },
  'does not call a task Running whose model never started on the lost node': {
    given: seen({ task: withStatus(claimed()), jobs: [aJob()], pods: [held({ prepare: runningState })] }),
    phase: 'Pending',
    reason: 'NodeLost',
  },
  'gives a lost node the time that is configured': {
    given: seen({ task: withStatus(running), jobs: [aJob()], pods: [held()], policy: forcing(600) }),
    does: [],
    reason: 'NodeLost',
  },
  'reads live before it gives a node up': {
    given: seen({ task: withStatus(running), jobs: [aJob()], pods: [held()], policy: forcing(300) }),
    does: ['read live'],
  },
  'removes Job and pod of a lost node, if that is configured': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob()],
      pods: [held()],
      policy: forcing(300),
      live: true,
    }),
    does: ['delete job night-1', 'force pod away'],
    phase: 'Running',
    reason: 'Stopping',
    message: /gpu-1/,
  },
  'forces a pod away only once': {
    given: seen({
      task: withStatus({ ...running, reason: 'Stopping', stopping }),
      pods: [held({ model: runningState }, 0)],
      policy: forcing(300),
    }),
    does: [],
    reason: 'Stopping',
  },
  'goes on without a lost node when somebody has forced its pod away, because the Job holds on to it': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob()],
      pods: [held({ model: runningState }, 0)],
      live: true,
    }),
    does: ['delete job night-1'],
    reason: 'Stopping',
  },
  'leaves the verdict to the Job when the node came back and said that the pod ended': {
    given: seen({
      task: withStatus(running),
      jobs: [aJob()],
      pods: [{ ...held({ model: ended(143) }, 0), phase: 'Failed' }],
      live: true,
    }),
    does: [],
    phase: 'Running',
  },
  'says why an attempt that is stopped does not end': {
    given: seen({ task: withStatus({ ...running, reason: 'Stopping', stopping }), pods: [held()] }),
    does: [],
    reason: 'Stopping',
    message: /gpu-1.*out-of-service/,
  },
  'starts a free attempt when the pod of a lost node is gone': {
    given: seen({
      task: withStatus({ ...running, reason: 'Stopping', stopping }),
      policy: forcing(300),
      live: true,
    }),
    does: [],
    phase: 'Pending',
    reason: 'Retrying',
    message: /NodeLost/,
  },
  'forces the pod of a cancelled task away too': {
    given: seen({
      task: withStatus({ ...running, reason: 'Cancelling' }, { desired: 'Cancel' }),
      jobs: [aJob()],
      pods: [held()],
      policy: forcing(300),
      live: true,
    }),
    does: ['delete job night-1', 'force pod away'],
    reason: 'Cancelling',
    message: /gpu-1/,
  },
  'says why a cancelled task does not end': {
    given: seen({
      task: withStatus({ ...running, reason: 'Cancelling' }, { desired: 'Cancel' }),
      jobs: [aJob()],
      pods: [held()],
    }),
    reason: 'Cancelling',
    message: /gpu-1.*out-of-service/,
  },
};
