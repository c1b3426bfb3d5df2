/** Pod statuses as kubelet reports them, with the times of now. */

type State = Readonly<Record<string, unknown>>;

const IMAGE = { image: 'example.org/x', imageID: `example.org/x@sha256:${'1'.repeat(64)}` };
const INIT = ['prepare', 'observe', 'model'];

const now = (): string => new Date().toISOString().replace(/\.\d+/, '');
const runs = (): State => ({ running: { startedAt: now() } });
const done = (exitCode: number, more: object = {}): State => ({
  terminated: { exitCode, startedAt: now(), finishedAt: now(), ...more },
});

function status(phase: string, states: Readonly<Record<string, State>>): object {
  const entry = (name: string) => ({ name, ready: false, restartCount: 0, state: states[name], ...IMAGE });
  const of = (names: readonly string[]) => names.filter((name) => states[name]).map(entry);
  return {
    phase,
    startTime: now(),
    conditions: [{ type: 'PodScheduled', status: 'True', lastTransitionTime: now() }],
    initContainerStatuses: of(INIT),
    containerStatuses: of(['publish']),
  };
}

export const running = (container: string): object => status('Pending', { [container]: runs() });

export const modelRuns = (): object =>
  status('Pending', { prepare: done(0), observe: runs(), model: runs() });

/** The model's container ended by itself or was stopped. */
export const failedStatus = (exitCode: number): object =>
  status('Failed', { prepare: done(0), observe: done(0), model: done(exitCode) });

/** An agent's container ended the pod. */
export function podEnds(step: 'prepare' | 'publish', exitCode: number, message: string): object {
  const before = step === 'publish' ? { prepare: done(0), observe: done(0), model: done(0) } : {};
  return status(exitCode === 0 ? 'Succeeded' : 'Failed', { ...before, [step]: done(exitCode, { message }) });
}
