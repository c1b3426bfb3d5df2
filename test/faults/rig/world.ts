import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import type { TaskStatus } from '../../../src/api/task.ts';
import { messageOf } from '../../../src/controller/settle.ts';
import { controlPlane, expectOk, wantControlPlane } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { type Lab, openLab } from '../../support/lab.ts';
import { type Operator, type OperatorConfig, startOperator } from '../../support/operator.ts';
import { endStateOf } from './end-state.ts';
import { type Expected, RECOVERY_MS } from './expected.ts';
import { auditPosition, type History, readHistory } from './history.ts';
import { type ModelRun, type NodeOptions, type PlayedNode, startNode } from './node.ts';
import { violationsOf } from './oracles.ts';
import { type Proxy, startProxy } from './proxy.ts';
import { ROW_LIMIT_MS } from './row.ts';
import { withScene } from './scene.ts';
import { DATASET, makeStore } from './volume.ts';

// Loading this file is what makes the control plane of the process fit for the oracles.
wantControlPlane({
  audit: 'writes',
  apiserverFlags: { 'audit-log-mode': 'blocking' },
  // Nodes here are played by tests: no heartbeat is due.
  controllerManagerFlags: { 'node-monitor-grace-period': '1h' },
});

export { RECOVERY_MS, type Expected } from './expected.ts';

/** One namespace, one played node and one proxied operator or more: what one row works in. */
export interface World {
  readonly lab: Lab;
  readonly node: PlayedNode;
  readonly proxy: Proxy;
  /** Two attempts, no backoff. */
  readonly model: string;
  /** Another node of this namespace with the same volume; its prefix must be new. */
  addNode(options: NodeOptions): Promise<PlayedNode>;
  /** Every operator that was started here, the ended ones too. */
  readonly operators: readonly Operator[];
  /** Starts an operator behind the proxy. `forced` leads without asking the lease. */
  operator(options?: OperatorChoice): Promise<Operator>;
  /** Another proxy, for an operator that is to see something else; it ends with the world. */
  anotherProxy(): Promise<Proxy>;
  submit(name: string, spec?: object): Promise<void>;
  /** Changes spec.desired, as a user does. */
  desire(name: string, desired: 'Run' | 'Suspend' | 'Cancel'): Promise<void>;
  /** Waits for a status for which `wanted` holds, as long as a recovery may take. */
  until(name: string, what: string, wanted: (status: TaskStatus) => boolean): Promise<TaskStatus>;
  running(name: string): Promise<TaskStatus>;
  ended(name: string): Promise<TaskStatus>;
  history(): Promise<History>;
  /** Waits until each task has ended as expected, then judges the whole history, the volume and the operators' logs. */
  sound(
    expected: Readonly<Record<string, Expected>>,
    allowed?: (violation: string) => boolean,
  ): Promise<History>;
  close(): Promise<void>;
}

export interface OperatorChoice {
  readonly forced?: boolean;
  /**
   * short: a successor takes over within 3 s, but a machine that stalls for 2 s costs the leader its lease.
   * usual: as installed, for rows in which nobody is to succeed. @default short
   */
  readonly lease?: 'short' | 'usual';
  /** A proxy of its own, when two operators are to see different things. */
  readonly proxy?: Proxy;
  readonly config?: OperatorConfig;
  readonly env?: Readonly<Record<string, string>>;
  readonly preload?: string;
  /** The checkout that it is started from. @default this one */
  readonly source?: string;
}

/** The lease as the chart installs it. */
export const INSTALLED = { leaseDurationSeconds: 15, renewDeadlineSeconds: 10, retryPeriodSeconds: 2 };

/** Copies its inputs; two attempts, no backoff. */
export const COPY: Partial<ModelSpecInput> = {
  run: { per: 'File', command: ['cp', '{input}', '{output}'] },
  outputs: [{ path: 'raw/{rel}' }],
  failure: { maxAttempts: 2, backoffSeconds: 0 },
};

async function openWorld(prefix: string, model: Partial<ModelSpecInput> = {}): Promise<World> {
  const lab = await openLab(prefix);
  const store = await makeStore();
  const from = await auditPosition(auditLog());
  const name = await lab.model('copy', { ...COPY, ...model });
  const [node, proxy] = await Promise.all([
    startNode(lab.namespace, store),
    startProxy(controlPlane().kubeconfig),
  ]);
  const operators: Operator[] = [];
  const nodes = [node];
  const proxies = [proxy];
  const until: World['until'] = (task, what, wanted) =>
    eventually(
      `${task}: ${what}`,
      async () => {
        const status = (await lab.get(task)).status ?? {};
        return wanted(status) ? status : undefined;
      },
      RECOVERY_MS,
    );
  const world: World = {
    lab,
    node,
    proxy,
    model: name,
    operators,
    until,
    async addNode(options) {
      const added = await startNode(lab.namespace, store, options);
      nodes.push(added);
      return added;
    },
    async operator({ forced = false, lease = 'short', proxy: own = proxy, config = {}, ...process } = {}) {
      const usual = lease === 'usual' ? { leaderElection: INSTALLED } : {};
      const election = forced ? { leaderElection: { enabled: false } } : usual;
      const options = { ...process, kubeconfig: own.kubeconfig, namespace: lab.namespace };
      const operator = await startOperator({ ...options, config: { ...election, ...config } });
      operators.push(operator);
      return operator;
    },
    async anotherProxy() {
      const another = await startProxy(controlPlane().kubeconfig);
      proxies.push(another);
      return another;
    },
    async submit(task, spec = {}) {
      const answer = await lab.task(task, { model: name, dataset: { path: DATASET }, ...spec });
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
    },
    desire: async (task, desired) => void expectOk(await lab.patchTask(task, { spec: { desired } })),
    running: (task) => until(task, 'Running', ({ phase }) => phase === 'Running'),
    ended: (task) => until(task, 'its end', ({ settled }) => settled === true),
    history: () => readHistory(auditLog(), lab.namespace, from),
    async sound(expected, allowed = () => false) {
      await Promise.all(Object.entries(expected).map(([task, how]) => endsAs(world, task, how)));
      const history = await world.history();
      const violations = [...violationsOf(history, ledgerOf(nodes)), ...(await endStateOf(world, expected))];
      assert.deepEqual(
        violations.filter((violation) => !allowed(violation)),
        [],
      );
      return history;
    },
    async close() {
      await Promise.all(operators.map((operator) => operator.stop('SIGKILL')));
      await Promise.all(nodes.map((each) => each.stop()));
      for (const one of proxies) one.thaw();
      await Promise.all(proxies.map((one) => one.close()));
      await rm(store, { recursive: true, force: true });
    },
  };
  return world;
}

function auditLog(): string {
  const { pieces } = controlPlane();
  if (!pieces) throw new Error('an audit log needs a control plane of our own');
  return pieces.auditLog;
}

/** Opens a world, runs a row in it and closes it, however the row ends. */
export async function inWorld(
  prefix: string,
  run: (world: World) => Promise<void>,
  model?: Partial<ModelSpecInput>,
): Promise<void> {
  const world = await openWorld(prefix, model);
  const late = new AbortController();
  try {
    await Promise.race([run(world), limit(late.signal)]);
  } catch (error) {
    throw await withScene(error, world.lab, world.operators);
  } finally {
    late.abort();
    await world.close();
  }
}

/** Rejects when the row has taken too long: what it waited for never came. */
async function limit(stop: AbortSignal): Promise<void> {
  await pause(ROW_LIMIT_MS, undefined, { signal: stop });
  throw new Error(`the row did not end within ${ROW_LIMIT_MS} ms`);
}

/** Every model container that ran anywhere, in the order of their starts. */
const ledgerOf = (nodes: readonly PlayedNode[]): ModelRun[] =>
  nodes.flatMap(({ ledger }) => ledger).toSorted((a, b) => a.startedMs - b.startedMs);

async function endsAs(world: World, task: string, how: Expected): Promise<void> {
  if (how === 'gone') {
    const gone = () =>
      world.lab.get(task).then(
        () => undefined,
        (error: unknown) => /refused with 404/.test(messageOf(error)) || undefined,
      );
    await eventually(`${task} is gone`, gone, RECOVERY_MS);
  } else if (typeof how === 'object')
    await world.until(task, how.waits, ({ reason }) => reason === how.waits);
  else {
    const status = await world.until(task, `${how} and settled`, ({ settled }) => settled === true);
    assert.equal(status.phase, how, `${task}: ${status.reason}: ${status.message}`);
  }
}
