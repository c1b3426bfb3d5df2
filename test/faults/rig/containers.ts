import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { ANNOTATION } from '../../../src/api/keys.ts';
import { agentRequest, STAGING } from '../../../src/api/request.ts';
import { type Pod, untilAborted } from './pod.ts';
import { MODEL_LOOP, type Place, runAgent, runStep } from './program.ts';

/** What a version of the operator's image runs in the pods of tasks. */
export interface AgentImage {
  readonly runAgent: typeof runAgent;
  /** The script around the model. */
  readonly loop: string;
}

/** The image of the program under test. */
const PRESENT: AgentImage = { runAgent, loop: MODEL_LOOP };

/** Where the containers of a played node find things. */
export interface Site {
  /** Name of the node. */
  readonly name: string;
  readonly store: string;
  readonly scratch: string;
  /** The image of an agent's container that is not the present one, by name. */
  readonly images: ReadonlyMap<string, AgentImage>;
}

/** The version of the operator that made the pod chose its image. */
function imageOf({ images }: Site, { spec }: Pod): AgentImage {
  const prepare = spec.initContainers.find(({ name }) => name === 'prepare');
  return images.get(prepare?.image ?? '') ?? PRESENT;
}

export interface Behaviour {
  /** @default succeeds. `hangs` runs until the pod is deleted, `waits` never starts the model. */
  readonly model?: 'succeeds' | 'fails' | 'hangs' | 'waits';
  /** How long the model runs at least. @default 300 */
  readonly runMs?: number;
  /** The model runs on until this settles. */
  readonly until?: Promise<unknown>;
  /** Whether `observe` runs beside the model and records finished units for further attempts. @default false */
  readonly observed?: boolean;
  /** How long a container takes to end after its pod was deleted. @default 200 */
  readonly stopMs?: number;
  /** The status that kubelet gives the pod instead of running anything in it. */
  readonly says?: object;
  /** The status with which the model's container ends. @default exit code 3 */
  readonly ends?: object;
  /** The model is cut short after `runMs`, as when kubelet lost its records, and all containers run once more after this. */
  readonly onRestart?: (pod: Pod) => Promise<void>;
  /** Called when the model container has started. */
  readonly onModel?: (pod: Pod) => void | Promise<void>;
  /** Runs publish in another way than usual; returns its exit code. */
  readonly publish?: (place: Place) => Promise<number>;
  /** Awaited after publish has renamed and before anybody can see that it ended. */
  readonly onPublished?: (pod: Pod) => Promise<void>;
}

/** The first attempt meets this, later ones succeed. */
export const firstMeets =
  (first: Behaviour) =>
  (attempt: number): Behaviour =>
    attempt === 1 ? first : {};

/** Runs what stands in for the model's container, until it is done or the pod is told to end. */
export async function runModel(
  site: Site,
  pod: Pod,
  behaviour: Behaviour,
  ending: AbortSignal,
): Promise<void> {
  const ended = new AbortController();
  const observing = behaviour.observed ? step(site, pod, 'observe', { signal: ended.signal }) : undefined;
  await model(site, pod, behaviour, ending);
  ended.abort();
  await observing;
}

async function model(site: Site, pod: Pod, behaviour: Behaviour, ending: AbortSignal): Promise<void> {
  const minimum = untilAborted(behaviour.model === 'hangs' ? undefined : (behaviour.runMs ?? 300), ending);
  if (behaviour.model === undefined || behaviour.model === 'succeeds') {
    const loop = spawn(
      '/bin/sh',
      ['-c', imageOf(site, pod).loop, 'analysis-loop', join(stagingOf(site, pod), STAGING.control)],
      { stdio: 'ignore', detached: true }, // a group of its own, as the processes of a container are
    );
    await exitOf(loop, ending);
  }
  await minimum;
  if (behaviour.until) await Promise.race([behaviour.until, untilAborted(undefined, ending)]);
}

/** Grace of a pod here: what has not ended by then is killed with all its processes. */
const GRACE_MS = 5000;

async function exitOf(child: ChildProcess, ending: AbortSignal): Promise<void> {
  const { pid } = child;
  let grace: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill('SIGTERM');
    if (pid !== undefined) grace = setTimeout(() => process.kill(-pid, 'SIGKILL'), GRACE_MS);
  };
  ending.addEventListener('abort', stop, { once: true });
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  ending.removeEventListener('abort', stop);
  clearTimeout(grace);
}

function requestOf(pod: Pod) {
  return agentRequest.parse(JSON.parse(pod.metadata.annotations[ANNOTATION.request] ?? '{}'));
}

function stagingOf(site: Site, pod: Pod): string {
  const { dataset, task } = requestOf(pod);
  return join(site.store, dataset.path, STAGING.outputs, STAGING.staging, task.uid, pod.metadata.uid);
}

async function placeOf(site: Site, pod: Pod, name: string): Promise<Place> {
  const { uid } = pod.metadata;
  const requestFile = join(site.scratch, `${uid}.json`);
  await mkdir(site.scratch, { recursive: true });
  await writeFile(requestFile, pod.metadata.annotations[ANNOTATION.request] ?? '');
  const staging = stagingOf(site, pod);
  return {
    requestFile,
    terminationLog: join(site.scratch, `${uid}.${name}`),
    storeRoot: site.store,
    stagingRoot: staging,
    dataMount: join(site.store, requestOf(pod).dataset.path),
    outMount: join(staging, STAGING.out),
    podUid: uid,
    podName: pod.metadata.name,
    node: site.name,
  };
}

interface StepOptions {
  readonly signal?: AbortSignal;
  readonly run?: Behaviour['publish'];
}

/** Runs a step of the agent as its container would. */
export async function step(
  site: Site,
  pod: Pod,
  name: 'prepare' | 'observe' | 'publish',
  { run, ...options }: StepOptions = {},
): Promise<{ readonly code: number; readonly message: string }> {
  const place = await placeOf(site, pod, name);
  const agent = imageOf(site, pod).runAgent;
  const code = await (run ? run(place) : runStep(name, place, { ...options, agent }));
  return { code, message: await readFile(place.terminationLog, 'utf8').catch(() => '') };
}
