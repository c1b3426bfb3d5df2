import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { runAgent } from '../../../src/agent/index.ts';
import { ANNOTATION, LABEL } from '../../../src/api/keys.ts';
import { MODEL_LOOP } from '../../../src/api/loop.ts';
import { agentRequest, STAGING } from '../../../src/api/request.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { failedStatus, modelRuns, podEnds, running } from './pod-status.ts';

/**
 * A node without kubelet, played by this process. Real are: binding, graceful deletion, the volume (a directory), the
 * agent's prepare and publish, and the loop around the model in a real shell. Played is: that a container runs them.
 */
export interface PlayedNode {
  /** Every model container that ran here, in the order of their starts. */
  readonly ledger: readonly ModelRun[];
  /** Root of the store that the pods mount. */
  readonly store: string;
  /** What happens to the pods of a task, by attempt; without a script its model succeeds. */
  script(task: string, behave: (attempt: number) => Behaviour): void;
  /** Notices nothing any more: no deletion, no new pod. Containers that run go on. */
  cutOff(is: boolean): void;
  stop(): Promise<void>;
}

export interface ModelRun {
  readonly task: string;
  readonly taskUid: string;
  readonly pod: string;
  readonly attempt: number;
  readonly startedMs: number;
  endedMs: number | undefined;
}

export interface Behaviour {
  /** @default succeeds. `hangs` runs until the pod is deleted, `waits` never starts the model. */
  readonly model?: 'succeeds' | 'fails' | 'hangs' | 'waits';
  /** How long the model runs at least. @default 300 */
  readonly runMs?: number;
  /** How long a container takes to end after its pod was deleted. @default 200 */
  readonly stopMs?: number;
  /** Called when the model container has started. */
  readonly onModel?: (pod: Pod) => void;
}

const POLL_MS = 100;
const SCHEDULING_MS = 300;
const UNREACHABLE_MS = 60_000;

const rawPod = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
    deletionTimestamp: z.string().optional(),
  }),
  spec: z.object({ nodeName: z.string().optional() }),
  status: z.object({ phase: z.string().optional() }).optional(),
});
export type Pod = z.output<typeof rawPod>;
const podList = z.object({ items: z.array(rawPod) });

interface Life {
  readonly ending: AbortController;
  readonly done: Promise<void>;
}

interface Node {
  readonly name: string;
  readonly namespace: string;
  readonly store: string;
  readonly scratch: string;
  readonly ledger: ModelRun[];
  readonly scripts: Map<string, (attempt: number) => Behaviour>;
  readonly lives: Map<string, Life>;
  isCutOff: boolean;
}

/** Registers a node and plays it for the pods of one namespace until `stop`. */
export async function startNode(namespace: string, store: string): Promise<PlayedNode> {
  const scratch = await mkdtemp(join(tmpdir(), 'node-'));
  const node: Node = {
    name: `node-of-${namespace}`,
    namespace,
    store,
    scratch,
    ledger: [],
    scripts: new Map(),
    lives: new Map(),
    isCutOff: false,
  };
  await register(node.name);
  const stopping = new AbortController();
  const watching = watchOver(node, stopping.signal);
  return {
    ledger: node.ledger,
    store,
    script: (task, behave) => void node.scripts.set(task, behave),
    cutOff: (is) => {
      node.isCutOff = is;
    },
    async stop() {
      stopping.abort();
      for (const { ending } of node.lives.values()) ending.abort();
      await Promise.allSettled([watching, ...[...node.lives.values()].map(({ done }) => done)]);
      await controlPlane().api.call('DELETE', `/api/v1/nodes/${node.name}`);
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

async function register(name: string): Promise<void> {
  const resources = { cpu: '64', memory: '256Gi', pods: '500', 'nvidia.com/gpu': '64' };
  const now = new Date().toISOString();
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'Played',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  };
  const metadata = { name, labels: { 'analysis.elsi.dev/played': 'true' } };
  // Nothing schedules here: pods are bound by hand, each to the node of its namespace.
  const body = { apiVersion: 'v1', kind: 'Node', metadata, spec: { unschedulable: true } };
  expectOk(await controlPlane().api.call('POST', '/api/v1/nodes', { body }));
  const status = { capacity: resources, allocatable: resources, conditions: [ready] };
  const patch = { body: { status }, contentType: 'application/merge-patch+json' };
  expectOk(await controlPlane().api.call('PATCH', `/api/v1/nodes/${name}/status`, patch));
}

async function watchOver(node: Node, signal: AbortSignal): Promise<void> {
  const path = `/api/v1/namespaces/${node.namespace}/pods?labelSelector=${LABEL.taskUid}`;
  while (!signal.aborted) {
    const answer = await controlPlane()
      .api.call('GET', path)
      .catch(() => undefined);
    if (answer?.status === 200 && !node.isCutOff)
      for (const pod of podList.parse(answer.body).items) attend(node, pod);
    await pause(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

function attend(node: Node, pod: Pod): void {
  const { uid, deletionTimestamp } = pod.metadata;
  const life = node.lives.get(uid);
  if (deletionTimestamp) life?.ending.abort();
  if (life) return;
  const ending = new AbortController();
  if (deletionTimestamp) ending.abort();
  const done = live(node, pod, ending.signal).catch((error: unknown) => {
    // A pod that vanishes under a node is nothing to the node; the oracles look at what remains.
    if (process.env['FAULTS_VERBOSE']) console.error(`pod ${pod.metadata.name}:`, error);
  });
  node.lives.set(uid, { ending, done });
}

async function live(node: Node, pod: Pod, ending: AbortSignal): Promise<void> {
  const attempt = Number(pod.metadata.annotations[ANNOTATION.attempt] ?? 1);
  const task = pod.metadata.annotations[ANNOTATION.task] ?? '';
  const behaviour = node.scripts.get(task)?.(attempt) ?? {};
  try {
    await untilAborted(SCHEDULING_MS, ending);
    if (!ending.aborted) await bind(node, pod);
    if (!ending.aborted && behaviour.model !== 'waits')
      await work({ node, pod, task, attempt }, behaviour, ending);
    if (!isOver(pod)) await untilAborted(undefined, ending);
  } finally {
    if (ending.aborted) await remove(pod, behaviour.stopMs ?? 200);
  }
}

const over = new WeakSet<Pod>();
const isOver = (pod: Pod): boolean => over.has(pod);

interface Work {
  readonly node: Node;
  readonly pod: Pod;
  readonly task: string;
  readonly attempt: number;
}

async function work(what: Work, behaviour: Behaviour, ending: AbortSignal): Promise<void> {
  const { node, pod } = what;
  const prepared = await step(node, pod, 'prepare');
  if (prepared.code !== 0) return end(pod, podEnds('prepare', prepared.code, prepared.message));
  const run: ModelRun = {
    task: what.task,
    taskUid: pod.metadata.labels[LABEL.taskUid] ?? '',
    pod: pod.metadata.uid,
    attempt: what.attempt,
    startedMs: performance.now(),
    endedMs: undefined,
  };
  node.ledger.push(run);
  await setStatus(pod, modelRuns());
  behaviour.onModel?.(pod);
  try {
    await runModel(node, pod, behaviour, ending);
  } finally {
    if (ending.aborted) await pause(behaviour.stopMs ?? 200);
    run.endedMs = performance.now();
  }
  if (ending.aborted) return end(pod, failedStatus(143));
  if (behaviour.model === 'fails') return end(pod, failedStatus(3));
  const published = await step(node, pod, 'publish');
  return end(pod, podEnds('publish', published.code, published.message));
}

async function runModel(node: Node, pod: Pod, behaviour: Behaviour, ending: AbortSignal): Promise<void> {
  const minimum = untilAborted(behaviour.model === 'hangs' ? undefined : (behaviour.runMs ?? 300), ending);
  if (behaviour.model === undefined || behaviour.model === 'succeeds') {
    const loop = spawn(
      '/bin/sh',
      ['-c', MODEL_LOOP, 'analysis-loop', join(stagingOf(node, pod), STAGING.control)],
      {
        stdio: 'ignore',
      },
    );
    await exitOf(loop, ending);
  }
  await minimum;
}

async function exitOf(child: ChildProcess, ending: AbortSignal): Promise<void> {
  const kill = (): void => void child.kill('SIGTERM');
  ending.addEventListener('abort', kill, { once: true });
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  ending.removeEventListener('abort', kill);
}

function requestOf(pod: Pod) {
  return agentRequest.parse(JSON.parse(pod.metadata.annotations[ANNOTATION.request] ?? '{}'));
}

function stagingOf(node: Node, pod: Pod): string {
  const { dataset, task } = requestOf(pod);
  return join(node.store, dataset.path, STAGING.outputs, STAGING.staging, task.uid, pod.metadata.uid);
}

async function step(
  node: Node,
  pod: Pod,
  name: 'prepare' | 'publish',
): Promise<{ readonly code: number; readonly message: string }> {
  const { uid } = pod.metadata;
  const [requestFile, terminationLog] = [
    join(node.scratch, `${uid}.json`),
    join(node.scratch, `${uid}.${name}`),
  ];
  await mkdir(node.scratch, { recursive: true });
  await writeFile(requestFile, pod.metadata.annotations[ANNOTATION.request] ?? '');
  const staging = stagingOf(node, pod);
  const code = await runAgent(name, {
    requestFile,
    terminationLog,
    storeRoot: node.store,
    stagingRoot: staging,
    dataMount: join(node.store, requestOf(pod).dataset.path),
    outMount: join(staging, STAGING.out),
    podUid: uid,
    podName: pod.metadata.name,
    node: node.name,
    signal: new AbortController().signal,
    log: () => undefined,
    now: () => new Date(),
    listen: { port: 0 },
    scanIntervalMs: 1000,
  });
  return { code, message: await readFile(terminationLog, 'utf8').catch(() => '') };
}

type Api = ReturnType<typeof controlPlane>['api'];

/** As kubelet does, asks again while the API server does not answer at all. */
async function insist(...call: Parameters<Api['call']>): ReturnType<Api['call']> {
  for (const deadline = performance.now() + UNREACHABLE_MS; ; ) {
    try {
      return await controlPlane().api.call(...call);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(POLL_MS);
    }
  }
}

const podPath = ({ metadata }: Pod): string =>
  `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;

async function bind(node: Node, pod: Pod): Promise<void> {
  const target = { apiVersion: 'v1', kind: 'Node', name: node.name };
  const { name, uid } = pod.metadata;
  const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name, uid }, target };
  expectOk(await insist('POST', `${podPath(pod)}/binding`, { body }));
  await setStatus(pod, running('prepare'));
}

async function setStatus(pod: Pod, status: object): Promise<void> {
  const body = { metadata: { uid: pod.metadata.uid }, status };
  const answer = await insist('PATCH', `${podPath(pod)}/status`, {
    body,
    contentType: 'application/strategic-merge-patch+json',
  });
  if (answer.status >= 400 && answer.status !== 404 && answer.status !== 409) expectOk(answer);
}

async function end(pod: Pod, status: object): Promise<void> {
  over.add(pod);
  await setStatus(pod, status);
}

/** What kubelet does when the containers of a deleted pod have ended. */
async function remove(pod: Pod, stopMs: number): Promise<void> {
  if (!isOver(pod)) await pause(stopMs);
  const body = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: 0,
    preconditions: { uid: pod.metadata.uid },
  };
  await insist('DELETE', podPath(pod), { body });
}

async function untilAborted(ms: number | undefined, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  if (ms === undefined) await once(signal, 'abort');
  else await pause(ms, undefined, { signal }).catch(() => undefined);
}
