import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ANNOTATION, LABEL } from '../../../src/api/keys.ts';
import type { Answer, Api } from '../../support/api.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { type AgentImage, type Behaviour, runModel, step } from './containers.ts';
import { type Pod, podList, podPath, untilAborted } from './pod.ts';
import { failedStatus, modelRuns, neverRan, podEnds, restarting, running } from './pod-status.ts';

/**
 * A node without kubelet, played by this process. Real are: binding, graceful deletion, the volume (a directory), the
 * agent's steps, and the loop around the model in a real shell. Played is: that a container runs them.
 */
export interface PlayedNode {
  /** Name of the Node object. */
  readonly name: string;
  /** Every model container that ran here, in the order of their starts. */
  readonly ledger: readonly ModelRun[];
  /** Root of the store that the pods mount. */
  readonly store: string;
  /** What happens to the pods of a task, by attempt; without a script its model succeeds. */
  script(task: string, behave: (attempt: number) => Behaviour): void;
  /** Pulls an image for the agent's containers; one that nobody pulled is taken for the present operator's. */
  pull(name: string, image: AgentImage): void;
  /** Notices nothing and says nothing any more. Containers that run go on; what it has to say it says when it is back. */
  cutOff(is: boolean): void;
  /** Loses its power for good: its containers are gone, and the API server hears nothing of it. */
  crash(): void;
  stop(): Promise<void>;
}

export interface ModelRun {
  readonly task: string;
  readonly taskUid: string;
  readonly pod: string;
  readonly attempt: number;
  readonly startedMs: number;
  endedMs: number | undefined;
  /** Exit code of publish, once it ended. */
  published: number | undefined;
}

export interface NodeOptions {
  /** Tells the nodes of one namespace apart. @default node */
  readonly prefix?: string;
  /** Takes only what a real scheduler gives it, for which it is open; otherwise it binds every pod of its namespace. */
  readonly scheduled?: boolean;
  /** @default 64 */
  readonly gpus?: number;
}

const POLL_MS = 100;
const SCHEDULING_MS = 300;

interface Life {
  readonly ending: AbortController;
  readonly done: Promise<void>;
}

interface Node {
  readonly name: string;
  readonly namespace: string;
  readonly scheduled: boolean;
  readonly store: string;
  readonly scratch: string;
  readonly ledger: ModelRun[];
  readonly scripts: Map<string, (attempt: number) => Behaviour>;
  readonly images: Map<string, AgentImage>;
  readonly lives: Map<string, Life>;
  readonly stopping: AbortController;
  isCutOff: boolean;
}

/** Registers a node and plays it for the pods of one namespace until `stop`. */
export async function startNode(
  namespace: string,
  store: string,
  { prefix = 'node', scheduled = false, gpus = 64 }: NodeOptions = {},
): Promise<PlayedNode> {
  const scratch = await mkdtemp(join(tmpdir(), 'node-'));
  const node: Node = {
    name: `${prefix}-of-${namespace}`,
    namespace,
    scheduled,
    store,
    scratch,
    ledger: [],
    scripts: new Map(),
    images: new Map(),
    lives: new Map(),
    stopping: new AbortController(),
    isCutOff: false,
  };
  await register(node, gpus);
  const watching = watchOver(node);
  return {
    name: node.name,
    ledger: node.ledger,
    store,
    script: (task, behave) => void node.scripts.set(task, behave),
    pull: (name, image) => void node.images.set(name, image),
    cutOff: (is) => {
      node.isCutOff = is;
    },
    crash: () => {
      node.isCutOff = true;
      for (const { ending } of node.lives.values()) ending.abort();
    },
    async stop() {
      node.stopping.abort();
      for (const { ending } of node.lives.values()) ending.abort();
      await Promise.allSettled([watching, ...[...node.lives.values()].map(({ done }) => done)]);
      await controlPlane().api.call('DELETE', `/api/v1/nodes/${node.name}`);
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

async function register({ name, scheduled }: Node, gpus: number): Promise<void> {
  const resources = { cpu: '64', memory: '256Gi', pods: '500', 'nvidia.com/gpu': String(gpus) };
  const now = new Date().toISOString();
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'Played',
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  };
  const metadata = { name, labels: { 'analysis.elsi.dev/played': 'true', 'kubernetes.io/hostname': name } };
  // Unless a scheduler runs, pods are bound by hand, each to the node of its namespace.
  const body = { apiVersion: 'v1', kind: 'Node', metadata, spec: { unschedulable: !scheduled } };
  expectOk(await controlPlane().api.call('POST', '/api/v1/nodes', { body }));
  const status = { capacity: resources, allocatable: resources, conditions: [ready] };
  const patch = { body: { status }, contentType: 'application/merge-patch+json' };
  expectOk(await controlPlane().api.call('PATCH', `/api/v1/nodes/${name}/status`, patch));
}

async function watchOver(node: Node): Promise<void> {
  const { signal } = node.stopping;
  const path = `/api/v1/namespaces/${node.namespace}/pods`;
  while (!signal.aborted) {
    const answer = await controlPlane()
      .api.call('GET', path)
      .catch(() => undefined);
    if (answer?.status === 200 && !node.isCutOff) {
      const pods = podList.parse(answer.body).items;
      for (const pod of pods.filter((one) => isAttended(node, one))) attend(node, pod);
      abandon(node, new Set(pods.map(({ metadata }) => metadata.uid)));
    }
    await pause(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Pods that were ours when they appeared; labels and annotations may be edited later on. */
function isAttended({ lives }: Node, { metadata }: Pod): boolean {
  return lives.has(metadata.uid) || metadata.annotations[ANNOTATION.request] !== undefined;
}

function attend(node: Node, pod: Pod): void {
  const { nodeName } = pod.spec;
  if (nodeName === undefined ? node.scheduled : nodeName !== node.name) return;
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

/** A pod that vanished, by force, is stopped as kubelet stops it. */
function abandon({ lives }: Node, known: ReadonlySet<string>): void {
  for (const [uid, { ending }] of lives) if (!known.has(uid)) ending.abort();
}

async function live(node: Node, pod: Pod, ending: AbortSignal): Promise<void> {
  const attempt = Number(pod.metadata.annotations[ANNOTATION.attempt] ?? 1);
  const task = pod.metadata.annotations[ANNOTATION.task] ?? '';
  const behaviour = node.scripts.get(task)?.(attempt) ?? {};
  try {
    await untilAborted(SCHEDULING_MS, ending);
    if (!ending.aborted) await bind(node, pod);
    if (behaviour.says) await end(node, pod, behaviour.says);
    else if (!ending.aborted && behaviour.model !== 'waits')
      await work({ node, pod, task, attempt }, behaviour, ending);
    if (!isOver(pod)) await untilAborted(undefined, ending);
  } finally {
    if (ending.aborted) await remove(node, pod, behaviour.stopMs ?? 200);
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
  if (behaviour.onRestart) await cutShort(what, behaviour, ending);
  const prepared = await step(node, pod, 'prepare');
  if (prepared.code !== 0) return end(node, pod, podEnds('prepare', prepared.code, prepared.message));
  const run = await modelStarts(what);
  await behaviour.onModel?.(pod);
  try {
    await runModel(node, pod, behaviour, ending);
  } finally {
    if (ending.aborted) await pause(behaviour.stopMs ?? 200);
    run.endedMs = performance.now();
  }
  if (ending.aborted) return end(node, pod, failedStatus(143));
  if (behaviour.model === 'fails') return end(node, pod, behaviour.ends ?? failedStatus(3));
  const published = await step(node, pod, 'publish', behaviour.publish ? { run: behaviour.publish } : {});
  run.published = published.code;
  await behaviour.onPublished?.(pod);
  return end(node, pod, podEnds('publish', published.code, published.message));
}

async function modelStarts({ node, pod, task, attempt }: Work): Promise<ModelRun> {
  const run: ModelRun = {
    task,
    taskUid: pod.metadata.labels[LABEL.taskUid] ?? '',
    pod: pod.metadata.uid,
    attempt,
    startedMs: performance.now(),
    endedMs: undefined,
    published: undefined,
  };
  node.ledger.push(run);
  await setStatus(node, pod, modelRuns());
  return run;
}

/** As far as the containers of a pod come before kubelet begins with the first one again. */
async function cutShort(what: Work, behaviour: Behaviour, ending: AbortSignal): Promise<void> {
  const { node, pod } = what;
  await step(node, pod, 'prepare');
  const preparedAt = new Date();
  const run = await modelStarts(what);
  const restart = AbortSignal.any([ending, AbortSignal.timeout(behaviour.runMs ?? 300)]);
  await runModel(node, pod, behaviour, restart);
  run.endedMs = performance.now();
  await setStatus(node, pod, restarting(preparedAt));
  await behaviour.onRestart?.(pod);
}

async function bind(node: Node, pod: Pod): Promise<void> {
  const target = { apiVersion: 'v1', kind: 'Node', name: node.name };
  const { name, uid } = pod.metadata;
  const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name, uid }, target };
  if (pod.spec.nodeName === undefined) expectOk(await insist('POST', `${podPath(pod)}/binding`, { body }));
  await setStatus(node, pod, running('prepare'));
}

/** What a node that is cut off has to tell waits until it is back. */
async function reachable(node: Node): Promise<void> {
  const { signal } = node.stopping;
  while (node.isCutOff && !signal.aborted) await untilAborted(POLL_MS, signal);
}

async function setStatus(node: Node, pod: Pod, status: object): Promise<void> {
  await reachable(node);
  const body = { metadata: { uid: pod.metadata.uid }, status };
  const answer = await insist('PATCH', `${podPath(pod)}/status`, {
    body,
    contentType: 'application/strategic-merge-patch+json',
  });
  if (answer.status >= 400 && answer.status !== 404 && answer.status !== 409) expectOk(answer);
}

/** The last thing that kubelet says by itself; a pod that it leaves unfinished waits for its deletion. */
async function end(node: Node, pod: Pod, status: object): Promise<void> {
  if (!('phase' in status && status.phase === 'Pending')) over.add(pod);
  await setStatus(node, pod, status);
}

/** Between a pod's last status and its removal. */
const REMOVAL_MS = 300;

/** What kubelet does when the containers of a deleted pod have ended: it reports the end, then lets the pod go. */
async function remove(node: Node, pod: Pod, stopMs: number): Promise<void> {
  if (!isOver(pod)) {
    await pause(stopMs);
    await end(node, pod, neverRan());
  }
  await reachable(node);
  await pause(REMOVAL_MS);
  const body = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: 0,
    preconditions: { uid: pod.metadata.uid },
  };
  await insist('DELETE', podPath(pod), { body });
}

/** A minute: an API server that is restarted comes back meanwhile. */
const TRIES = 600;

/** A busy API server is asked again, as kubelet does: a pod must not hang because of the machine that plays it. */
async function insist(...request: Parameters<Api['call']>): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await controlPlane()
      .api.call(...request)
      .catch(() => undefined);
    if (answer && answer.status !== 429 && answer.status < 500) return answer;
    if (attempt === TRIES) throw new Error(`${request[0]} ${request[1]}: ${answer?.status ?? 'no answer'}`);
    await pause(POLL_MS);
  }
}
