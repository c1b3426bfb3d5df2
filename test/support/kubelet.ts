import type { AgentReport } from '../../src/api/request.ts';

/** Pod statuses as kubelet reports them; the tests write them where no kubelet runs. */

const AT = '2026-01-01T00:00:00Z';
const image = {
  image: 'example.org/x',
  imageID: `example.org/x@sha256:${'1'.repeat(64)}`,
  ready: true,
  restartCount: 0,
};

type State = Readonly<Record<string, unknown>>;

const running: State = { running: { startedAt: AT } };
const done = (exitCode: number, more: object = {}): State => ({
  terminated: { exitCode, startedAt: AT, finishedAt: AT, ...more },
});

function status(phase: string, states: Readonly<Record<string, State>>, more: object = {}): object {
  const entry = (name: string) => ({ name, state: states[name], ...image });
  const named = (names: readonly string[]) => names.filter((name) => states[name]).map(entry);
  return {
    phase,
    startTime: AT,
    conditions: [{ type: 'PodScheduled', status: 'True', lastTransitionTime: AT }],
    initContainerStatuses: named(['prepare', 'observe', 'model']),
    containerStatuses: named(['publish']),
    ...more,
  };
}

/** The pod's status may say more, such as its address; `startedAt` is the model's. */
export const modelRuns = (more: object = {}, startedAt = AT): object =>
  status('Pending', { prepare: done(0), observe: running, model: { running: { startedAt } } }, more);

export const waitsFor = (reason: string, message: string): object =>
  status('Pending', { prepare: { waiting: { reason, message } } });

export const modelEnds = (exitCode: number, more: object = {}): object =>
  status('Failed', { prepare: done(0), observe: done(0), model: done(exitCode, more) });

/** `ran` is when the model ran, where that matters. */
export const publishEnds = (
  exitCode: number,
  report: Partial<AgentReport>,
  ran: { readonly startedAt?: string; readonly finishedAt?: string } = {},
): object => {
  const message = JSON.stringify({ v: 1, message: 'told by publish', ...report });
  const phase = exitCode === 0 ? 'Succeeded' : 'Failed';
  return status(phase, {
    prepare: done(0),
    observe: done(0),
    model: done(0, ran),
    publish: done(exitCode, { message }),
  });
};

export const prepareEnds = (exitCode: number, report: Partial<AgentReport>): object =>
  status('Failed', {
    prepare: done(exitCode, { message: JSON.stringify({ v: 1, message: 'told by prepare', ...report }) }),
  });

export const published: Partial<AgentReport> = {
  message: '3 of 3 units published',
  units: { total: 3, done: 3, failed: 0, reused: 0 },
  result: { path: 'corpus/outputs/t', manifestSha256: 'ab', files: 3, bytes: 30 },
};

export const evicted = (): object =>
  status(
    'Failed',
    { prepare: done(0), model: done(143) },
    {
      reason: 'Evicted',
      conditions: [
        { type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI', lastTransitionTime: AT },
      ],
    },
  );
