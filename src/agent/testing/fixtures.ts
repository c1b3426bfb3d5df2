/** What the tests of the agent share: a store in a temp directory, WAV files made in code, the real sh as the model. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MODEL_LOOP } from '../../api/loop.ts';
import { agentReport, agentRequest } from '../../api/request.ts';
import type { AgentReport, AgentRequest } from '../../api/request.ts';
import { runAgent } from '../index.ts';
import type { AgentOptions, AgentStep } from '../index.ts';

export const RECORDINGS = 'recordings/converted/standard';

/** A PCM WAV of silence. `declared` replaces the size of its data chunk. */
export function wav(
  seconds = 0.1,
  {
    sampleRate = 16000,
    channels = 1,
    declared,
  }: { sampleRate?: number; channels?: number; declared?: number } = {},
): Buffer {
  const data = Buffer.alloc(Math.round(seconds * sampleRate) * channels * 2);
  const header = Buffer.alloc(44);
  header.write('RIFF', 0, 'latin1');
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8, 'latin1');
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * channels * 2, 28);
  header.writeUInt16LE(channels * 2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36, 'latin1');
  header.writeUInt32LE(declared ?? data.length, 40);
  return Buffer.concat([header, data]);
}

/** Parts of a request that a test wants to be different. */
export interface RequestChanges {
  readonly uid?: string;
  readonly identity?: string;
  readonly per?: AgentRequest['run']['per'];
  readonly command?: readonly string[];
  /** In place of a command. */
  readonly worker?: AgentRequest['run']['worker'];
  readonly root?: string;
  readonly include?: readonly string[];
  readonly audio?: AgentRequest['inputs']['audio'];
  readonly effort?: AgentRequest['inputs']['effort'] | undefined;
  readonly requires?: readonly string[];
  readonly outputs?: readonly { path: string; allowEmpty?: boolean; format?: string }[];
  readonly maxFailedUnits?: number;
  readonly exitCodes?: NonNullable<AgentRequest['failure']['exitCodes']>;
  readonly dataset?: { path: string; directory?: string };
  readonly outputName?: string;
  readonly parameters?: Record<string, string>;
  readonly tuning?: string[];
  readonly resume?: boolean;
  readonly retryOf?: AgentRequest['retryOf'];
}

export const RTTM_LINE = 'SPEAKER x 1 0.00 0.10 <NA> <NA> CHI <NA> <NA>';
/** A model that writes one good RTTM file. */
export const GOOD_MODEL = ['sh', '-c', `echo '${RTTM_LINE}' >"$2"`, 'model', '{input}', '{output}'];

export function aRequest(changes: RequestChanges = {}): AgentRequest {
  const all = { ...USUAL, ...changes };
  const { uid, identity = uid, per, command, worker, maxFailedUnits, exitCodes, ...other } = all;
  const { root, include, audio, effort, ...rest } = other;
  return agentRequest.parse({
    schema: 1,
    identity,
    task: { uid, name: 'demo', namespace: 'lab', attempt: 1, createdAt: '2026-01-01T00:00:00.000Z' },
    model: { name: 'vtc-2-0', uid: 'model-1', image: 'example.org/vtc@sha256:0', version: '2.0' },
    run: worker === undefined ? { per, command } : { per: 'Dataset', worker },
    inputs: { root, include, audio, effort },
    failure: { maxFailedUnits, exitCodes },
    provenance: { method: 'automated', citation: 'A Paper (2026)', homepage: 'https://example.org/vtc' },
    operatorVersion: '0.1.0',
    ...rest,
  });
}

const USUAL = {
  uid: 'task-1',
  per: 'File',
  command: GOOD_MODEL,
  root: RECORDINGS,
  include: ['**/*.wav'],
  outputs: [{ path: 'raw/{reldir}/{stem}.rttm', format: 'Rttm' }],
  maxFailedUnits: 0,
  dataset: { path: 'lab/corpus' },
  outputName: 'result',
  parameters: {},
  resume: true,
} as const;

export interface StepOutcome {
  readonly code: number;
  readonly report: AgentReport;
  readonly log: readonly string[];
}

/** A store on disk and the pods that work on it. */
export interface TestStore {
  readonly root: string;
  readonly dataset: string;
  readonly path: (...parts: string[]) => string;
  readonly put: (path: string, content?: string | Buffer) => Promise<void>;
  readonly text: (path: string) => Promise<string>;
  readonly pod: (request: AgentRequest, podUid?: string) => TestPod;
  readonly remove: () => Promise<void>;
}

export interface TestPod {
  readonly staging: string;
  readonly options: (changes?: Partial<AgentOptions>) => AgentOptions;
  readonly step: (step: AgentStep, changes?: Partial<AgentOptions>) => Promise<StepOutcome>;
  /** Runs the loop with the real sh; returns its exit code. */
  readonly loop: (env?: Record<string, string>) => Promise<number>;
  /** prepare, loop, publish: what a pod does. */
  readonly run: () => Promise<StepOutcome>;
}

/** Makes a store with an empty dataset `lab/corpus`. `root` puts it on another file system. */
export async function aStore(root?: string): Promise<TestStore> {
  const base = root ?? (await realpath(await mkdtemp(join(tmpdir(), 'agent-'))));
  const dataset = join(base, 'lab/corpus');
  await mkdir(join(dataset, RECORDINGS), { recursive: true });
  const scratch = await mkdtemp(join(tmpdir(), 'agent-pod-'));
  const store: TestStore = {
    root: base,
    dataset,
    path: (...parts) => join(dataset, ...parts),
    put: async (path, content = wav()) => {
      const file = join(dataset, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
    },
    text: (path) => readFile(join(dataset, path), 'utf8'),
    pod: (request, podUid = 'pod-1') => aPod({ base, dataset, scratch }, request, podUid),
    remove: async () => {
      await rm(base, { recursive: true, force: true });
      await rm(scratch, { recursive: true, force: true });
    },
  };
  return store;
}

function aPod(
  store: { readonly base: string; readonly dataset: string; readonly scratch: string },
  request: AgentRequest,
  podUid: string,
): TestPod {
  const staging = join(store.dataset, 'outputs/.staging', request.task.uid, podUid);
  const requestFile = join(store.scratch, `request-${request.task.uid}-${podUid}.json`);
  const terminationLog = join(store.scratch, `termination-${podUid}`);
  const options = (changes: Partial<AgentOptions> = {}): AgentOptions => ({
    requestFile,
    storeRoot: store.base,
    stagingRoot: staging,
    dataMount: store.dataset,
    outMount: join(staging, 'out'),
    podUid,
    podName: `demo-${podUid}`,
    node: 'node-1',
    terminationLog,
    signal: new AbortController().signal,
    log: () => undefined,
    now: () => new Date(),
    listen: { host: '127.0.0.1', port: 0 },
    redis: { host: '127.0.0.1', port: 0 },
    scanIntervalMs: 20,
    ...changes,
  });
  const pod: TestPod = {
    staging,
    options,
    step: async (step, changes) => {
      await writeFile(requestFile, JSON.stringify(request));
      await rm(terminationLog, { force: true });
      const log: string[] = [];
      const code = await runAgent(step, options({ log: (line) => log.push(line), ...changes }));
      const text = step === 'observe' ? '{"v":1,"message":""}' : await readFile(terminationLog, 'utf8');
      return { code, report: agentReport.parse(JSON.parse(text)), log };
    },
    loop: (env) => runLoop(join(staging, 'ctl'), env),
    run: async () => {
      const prepared = await pod.step('prepare');
      if (prepared.code !== 0) return prepared;
      await pod.loop();
      return pod.step('publish');
    },
  };
  return pod;
}

/** Runs the loop on a control directory to its end. */
export async function runLoop(control: string, env: Record<string, string> = {}): Promise<number> {
  const child = spawn('/bin/sh', ['-c', MODEL_LOOP, 'analysis-loop', control], {
    stdio: 'ignore',
    env: { ...process.env, ...env },
  });
  const [code] = await once(child, 'exit');
  return typeof code === 'number' ? code : -1;
}
