import assert from 'node:assert/strict';
import type { TaskStatus } from '../../src/api/task.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { modelRuns, published, publishEnds } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Proxy, type Seen, startProxy } from './proxy.ts';

/** A lab whose operator reaches the API server only through the proxy. The test itself talks to the server directly. */
export interface Bench {
  readonly lab: Lab;
  readonly proxy: Proxy;
  readonly model: string;
}

export async function openBench(prefix: string): Promise<Bench> {
  const lab = await openLab(prefix);
  const model = await lab.model('vad', { failure: { maxAttempts: 1, backoffSeconds: 0 } });
  return { lab, model, proxy: await startProxy(controlPlane().kubeconfig) };
}

/** Whether a request is a write of the operator about this task: a status of the task, or its Job. */
export function isWriteOf(task: string): (request: Seen) => boolean {
  return ({ method, path, body }) =>
    (method === 'PUT' && path.endsWith(`/analysistasks/${task}/status`)) ||
    (method === 'POST' && path.endsWith('/jobs') && body.includes(`"analysis.elsi.dev/task":"${task}"`));
}

/** The n-th request (from 1) for which `matches` holds. */
export function nth(matches: (request: Seen) => boolean, n: number): (request: Seen) => boolean {
  let count = 0;
  return (request) => matches(request) && ++count === n;
}

/** Recoveries wait for leases, backoff and Retry-After; later than this counts as lost. */
const RECOVERY_MS = 90_000;

/** Creates a task and plays kubelet for it until it ends; returns every status that was seen on the way. */
export async function runTask({ lab, model }: Bench, name: string): Promise<TaskStatus[]> {
  expectOk(await lab.task(name, { model }));
  const history: TaskStatus[] = [];
  const look = async (): Promise<TaskStatus> => {
    const status = (await lab.get(name)).status ?? {};
    history.push(status);
    return status;
  };
  const pod = await eventually(
    `the pod of ${name}`,
    async () => {
      await look();
      const jobs = new Set((await lab.jobs(name)).map(({ metadata }) => metadata.uid));
      return (await lab.pods()).find(({ ownerUid }) => ownerUid !== undefined && jobs.has(ownerUid));
    },
    RECOVERY_MS,
  );
  await lab.setPod(pod, modelRuns());
  await eventually(
    `${name} is Running`,
    async () => ((await look()).phase === 'Running' ? true : undefined),
    RECOVERY_MS,
  );
  await lab.setPod(pod, publishEnds(0, published));
  await eventually(
    `${name} succeeds`,
    async () => ((await look()).phase === 'Succeeded' ? true : undefined),
    RECOVERY_MS,
  );
  return history;
}

const RANK = ['Pending', 'Running', 'Succeeded'];

/** What must hold over the whole history of a task that succeeded at its first attempt, whatever happened meanwhile. */
export async function assertHistory(
  { lab, proxy }: Bench,
  name: string,
  history: readonly TaskStatus[],
): Promise<void> {
  const ranks = history.map(({ phase }) => RANK.indexOf(phase ?? 'Pending'));
  assert.deepEqual(
    ranks,
    ranks.toSorted((a, b) => a - b),
    `${name}: the phase never goes back`,
  );
  const last = history.at(-1);
  assert.equal(last?.attempt?.number, 1, `${name}: one attempt`);
  assert.equal(last.settled, true);
  const jobs = proxy.log.filter(
    (request) => request.method === 'POST' && request.status === 201 && isWriteOf(name)(request),
  );
  assert.equal(jobs.length, 1, `${name}: one Job was ever created`);
  assert.equal((await lab.jobs(name)).length, 1);
  assert.equal((await lab.pods()).filter(({ metadata }) => metadata.name.startsWith(`${name}-`)).length, 1);
}
