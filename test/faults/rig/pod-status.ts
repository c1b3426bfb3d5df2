/** Pod statuses as kubelet reports them, with the times of now. */

type State = Readonly<Record<string, unknown>>;

const IMAGE = { image: 'example.org/x', imageID: `example.org/x@sha256:${'1'.repeat(64)}` };
const INIT = ['prepare', 'observe', 'model'];

const now = (): string => new Date().toISOString().replace(/\.\d+/, '');
const runs = (): State => ({ running: { startedAt: now() } });
const waits = (reason: string, message?: string): State => ({ waiting: { reason, message } });
const done = (exitCode: number, more: object = {}): State => ({
  terminated: { exitCode, startedAt: now(), finishedAt: now(), ...more },
});

type States = Readonly<Record<string, State>>;

function status(phase: string, states: States, { conditions = [], ...more }: More = {}): object {
  const entry = (name: string) => ({ name, ready: false, restartCount: 0, state: states[name], ...IMAGE });
  const of = (names: readonly string[]) => names.filter((name) => states[name]).map(entry);
  return {
    phase,
    startTime: now(),
    conditions: [
      { type: 'PodScheduled', status: 'True', lastTransitionTime: now() },
      ...conditions.map((condition) => ({ lastTransitionTime: now(), ...condition })),
    ],
    initContainerStatuses: of(INIT),
    containerStatuses: of(['publish']),
    ...more,
  };
}

interface More {
  readonly conditions?: readonly object[];
  readonly reason?: string;
  readonly message?: string;
}

export const running = (container: string): object => status('Pending', { [container]: runs() });

export const modelRuns = (): object =>
  status('Pending', { prepare: done(0), observe: runs(), model: runs() });

/** kubelet begins anew with a pod whose model ran; the API server lets no init container that ended be shown as running. */
export const restarting = (preparedAt: Date): object => {
  const prepared = done(0, { startedAt: preparedAt.toISOString(), finishedAt: preparedAt.toISOString() });
  return status('Pending', { prepare: prepared, observe: runs(), model: waits('PodInitializing') });
};

/** The pod was deleted before its model ran. */
export const neverRan = (): object => status('Failed', {});

/** The model's container ended by itself or was stopped. */
export const failedStatus = (exitCode: number, ended: object = {}, more: More = {}): object =>
  status('Failed', { prepare: done(0), observe: done(0), model: done(exitCode, ended) }, more);

/** With cgroup v1 the shell around a killed model may exit with 0; kubelet then neither goes on nor ends the pod. */
export const hangsAfter = (ended: object): object =>
  status('Pending', { prepare: done(0), observe: runs(), model: done(0, ended) });

/** A container that cannot be started, tried again and again. */
export const blocked = (container: string, reason: string, message: string): object => {
  const before = container === 'prepare' ? {} : { prepare: done(0), observe: runs() };
  return status('Pending', { ...before, [container]: waits(reason, message) });
};

/** The node never let the pod in: no container has any status. */
export const refused = (reason: string, message: string): object => status('Failed', {}, { reason, message });

/** How a pod shows that something took it away. */
export const disruption = (reason: string, message = ''): object => ({
  type: 'DisruptionTarget',
  status: 'True',
  reason,
  message,
});

/** An agent's container ended the pod. */
export function podEnds(step: 'prepare' | 'publish', exitCode: number, message: string): object {
  const before = step === 'publish' ? { prepare: done(0), observe: done(0), model: done(0) } : {};
  return status(exitCode === 0 ? 'Succeeded' : 'Failed', { ...before, [step]: done(exitCode, { message }) });
}
