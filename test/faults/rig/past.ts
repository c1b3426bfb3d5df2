import { after } from 'mocha';
import type { TaskStatus } from '../../../src/api/task.ts';
import { API_VERSION } from '../../../src/api/keys.ts';
import { eventually } from '../../support/eventually.ts';
import type { Operator } from '../../support/operator.ts';
import type { History } from './history.ts';
import type { Behaviour } from './containers.ts';
import type { Proxy } from './proxy.ts';
import type { Injected, Seen } from './rules.ts';
import { type SecondServer, startSecondServer } from './second-server.ts';
import { isWrite } from './given.ts';
import { inWorld, RECOVERY_MS, type World } from './world.ts';

/** The kinds whose copies grow old here; the store's claim and the models stay fresh. */
export const OURS = ['analysistasks', 'jobs', 'pods'] as const;

let shared: Promise<SecondServer> | undefined;

/** Runs a row with the second API server, which all rows of this file share. */
export function withSecond(
  prefix: string,
  run: (world: World, second: SecondServer) => Promise<void>,
): Promise<void> {
  return inWorld(prefix, async (world) => {
    shared ??= startSecondServer();
    const second = await shared;
    await run(world, second).finally(() => second.thaw());
  });
}

after(async () => {
  await (await shared)?.stop();
});

export const EARLY = ['fresh', 'claimed', 'retried', 'running'];

interface Early {
  readonly unbegun?: readonly string[];
  /** What the second attempt of the retried task does. */
  readonly again?: Behaviour;
}

/**
 * Tasks at an early point of their lives: not begun; claimed without a Job; between two attempts; running. The second
 * API server freezes there, then an operator leads them on by the first one.
 */
export async function leaveBehind(
  world: World,
  second: SecondServer,
  { unbegun = ['fresh'], again = {} }: Early = {},
): Promise<Operator> {
  const { lab, node, proxy } = world;
  const past = Promise.withResolvers<void>();
  node.script('running', () => ({ until: past.promise }));
  node.script('retried', (attempt) => (attempt === 1 ? { model: 'fails' } : again));
  const holds = [
    proxy.inject({ matches: isWrite('claimed', 'create jobs'), fault: { do: 'hang' } }),
    proxy.inject({ matches: isWrite('retried', 'status Pending/Starting 2'), fault: { do: 'hang' } }),
  ];
  const first = await world.operator({ forced: true });
  for (const task of ['claimed', 'retried', 'running']) await world.submit(task);
  await world.until('claimed', 'claimed', ({ attempt }) => attempt?.number === 1);
  await world.until('retried', 'between two attempts', ({ nextAttemptAt }) => nextAttemptAt !== undefined);
  await world.running('running');
  await eventually(
    'all is held',
    () => (holds.every((rule) => rule.hits() > 0) ? true : undefined),
    RECOVERY_MS,
  );
  await first.stop('SIGKILL');
  for (const task of unbegun) await world.submit(task);
  await second.catchUp(
    `/apis/${API_VERSION}/namespaces/${lab.namespace}/analysistasks`,
    `/apis/batch/v1/namespaces/${lab.namespace}/jobs`,
    lab.path('pods'),
  );
  second.freeze();
  past.resolve();
  return world.operator({ forced: true });
}

/** Everything that exists, with its version: equal means that nobody changed anything. */
export async function everything({ lab }: World, tasks: readonly string[]): Promise<readonly string[]> {
  const all = [
    ...(await Promise.all(tasks.map((task) => lab.get(task)))),
    ...(await lab.jobs()),
    ...(await lab.pods()),
  ];
  return all.map(({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`);
}

const REFUSED = /^update analysistasks\/status .*: (409|422)$/;
export const refused = ({ operatorWrites }: History): readonly string[] =>
  operatorWrites.filter((write) => REFUSED.test(write));

export const KINDS = [...OURS, 'analysismodels', 'persistentvolumeclaims'];

const reads =
  (kind: string, isWatch: boolean) =>
  (request: Seen): boolean =>
    request.method === 'GET' && request.isWatch === isWatch && new RegExp(`/${kind}[?]`).test(request.path);

/** Lists at a version that lies in the future: the API server waits for it for 3 s and answers 504. */
export function refuseLists(proxy: Proxy, times: number): readonly Injected[] {
  const path = (text: string) => `${text}&resourceVersion=${2 ** 50}&resourceVersionMatch=NotOlderThan`;
  return KINDS.map((kind) =>
    proxy.inject({ matches: reads(kind, false), fault: { do: 'rewrite', path }, times }),
  );
}

/** Every watch says that its version is too old, so that every cache is listed again. */
export function forceLists(proxy: Proxy): void {
  for (const kind of KINDS) proxy.inject({ matches: reads(kind, true), fault: { do: 'gone' } });
  proxy.cutWatches();
}

export const isRunning =
  (number: number) =>
  ({ phase, attempt }: TaskStatus): boolean =>
    phase === 'Running' && attempt?.number === number;
