import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';
import { stringify } from 'yaml';
import { z } from 'zod';
import { BANNER, buildOperator } from '../build.ts';
import { ensureBinaries } from '../cluster/build.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { run } from '../cluster/exec.ts';
import { createProgress } from '../cluster/progress.ts';
import { freePort, waitFor } from '../cluster/wait.ts';
import { type StandIn, startStandIn } from '../elsi-stand-in/server.ts';
import { ROOT } from '../gen/files.ts';
import { benchTask, MODELS } from './elsi-tasks.ts';

export interface ElsiBench {
  readonly known: number;
  readonly polls: number;
}

const NEW_TASKS = 1000;
const UNCHANGED_POLLS = 20;
/** What the design allows; the time of one poll on a processor counts, because a busy machine stretches the other. */
const LIMITS = { known: 10_000, cpuMsPerPoll: 150, newTasksSeconds: 10, refusedMiB: 64, flatMiB: 4 };

interface Bench {
  readonly directory: string;
  readonly standIn: StandIn;
  readonly say: (line: string) => void;
}

/** Runs the bundled elsi-sync against the stand-in and a real API server. False above a limit. */
export async function benchElsi({ known, polls }: ElsiBench): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-elsi-'));
  await writeFile(join(directory, 'client_id'), 'bench');
  await writeFile(join(directory, 'client_secret'), 'bench');
  const standIn = await startStandIn({ clientId: 'bench', clientSecret: 'bench' });
  const bench: Bench = { directory, standIn, say: (line) => console.log(line) };
  try {
    const real = await withControlPlane((plane) => benchProcess(bench, plane, known));
    const flat = await benchMemory(bench, known, polls);
    return real && flat;
  } finally {
    await standIn.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function withControlPlane<T>(work: (plane: ControlPlane) => Promise<T>): Promise<T> {
  const plane = await startControlPlane();
  try {
    const { kubectl = 'kubectl' } = await ensureBinaries(['kubernetes'], createProgress());
    const env = { KUBECONFIG: plane.kubeconfig };
    await run(kubectl, ['apply', '--server-side', '-f', join(ROOT, 'crds')], { env });
    await run(kubectl, ['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s'], { env });
    await run(kubectl, ['create', 'namespace', 'bench'], { env });
    return await work(plane);
  } finally {
    await plane.stop();
  }
}

async function benchProcess(bench: Bench, plane: ControlPlane, known: number): Promise<boolean> {
  const sync = await startSync(bench, plane.kubeconfig);
  try {
    const isQuick = await newTasks(bench, sync);
    const isCheap = await unchangedPolls(bench, sync, known);
    const isRefused = await refusedList(bench, sync);
    return isQuick && isCheap && isRefused;
  } finally {
    sync.child.kill('SIGKILL');
  }
}

interface Sync {
  readonly child: ChildProcess;
  readonly healthUrl: string;
}

async function startSync({ directory, standIn }: Bench, kubeconfig: string): Promise<Sync> {
  const { directory: dist } = await buildOperator();
  const port = await freePort();
  const file = join(directory, 'config.yaml');
  const config = {
    elsi: { baseUrl: standIn.url, credentialsDirectory: directory },
    namespace: 'bench',
    models: MODELS,
    intervalSeconds: 1,
    leaderElection: { enabled: false },
    health: { port, host: '127.0.0.1' },
    log: { level: 'warn' },
  };
  await writeFile(file, stringify(config));
  const args = ['elsi-sync', '--config', file, '--kubeconfig', kubeconfig];
  const log = openSync(join(directory, 'log'), 'w');
  const child = spawn(process.execPath, [join(dist, 'analysis-operator.mjs'), ...args], {
    stdio: ['ignore', log, log],
  });
  return { child, healthUrl: `http://127.0.0.1:${port}` };
}

/** From the first list that names them until the last one has its AnalysisTask. */
async function newTasks({ standIn, say }: Bench, sync: Sync): Promise<boolean> {
  for (let index = 0; index < NEW_TASKS; index++) standIn.add(benchTask(index));
  await until('the first list', () => standIn.requests.list > 0);
  const started = performance.now();
  await until(`${NEW_TASKS} AnalysisTasks`, () => hasCreated(sync, NEW_TASKS));
  const seconds = (performance.now() - started) / 1000;
  say(
    `${NEW_TASKS} new tasks: ${NEW_TASKS} AnalysisTasks ${seconds.toFixed(1)} s after the list that named them`,
  );
  return seconds <= LIMITS.newTasksSeconds;
}

async function unchangedPolls({ standIn, say }: Bench, sync: Sync, known: number): Promise<boolean> {
  for (let index = NEW_TASKS; index < known; index++) standIn.add(benchTask(index));
  await until(`${known} AnalysisTasks`, () => hasCreated(sync, known));
  await nextLists(standIn, 3); // the last events of the watch come in
  const before = await countsOf(sync, standIn);
  await nextLists(standIn, UNCHANGED_POLLS);
  const after = await countsOf(sync, standIn);
  const cpuMs = (after.cpuMs - before.cpuMs) / UNCHANGED_POLLS;
  const [writes, puts] = [after.writes - before.writes, after.puts - before.puts];
  const text = JSON.stringify([...standIn.tasks.values()]);
  const size = `${(text.length / 2 ** 20).toFixed(1)} MiB`;
  say(`baseline (JSON.parse of the list, ${size}): ${parseMs(text).toFixed(0)} ms on a processor`);
  say(`a poll of ${known} known tasks without a change: ${cpuMs.toFixed(0)} ms on a processor`);
  say(`${UNCHANGED_POLLS} such polls: ${writes} writes to the API server, ${puts} PUTs to ELSI`);
  return writes === 0 && puts === 0 && (known !== LIMITS.known || cpuMs <= LIMITS.cpuMsPerPoll);
}

function parseMs(text: string): number {
  const begun = process.cpuUsage();
  for (let round = 0; round < 10; round++) JSON.parse(text);
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 10_000;
}

async function refusedList({ standIn, say }: Bench, sync: Sync): Promise<boolean> {
  await writeFile(`/proc/${sync.child.pid}/clear_refs`, '5'); // the peak starts again at what it holds now
  const before = await peakMiB(sync);
  const failed = await metricOf(sync, 'elsi_polls_total', 'result="error"');
  standIn.inject({ on: 'list', do: { kind: 'bytes', bytes: 2 ** 31 } });
  await until(
    'the list is refused',
    async () => (await metricOf(sync, 'elsi_polls_total', 'result="error"')) > failed,
  );
  const growth = (await peakMiB(sync)) - before;
  say(
    `an answer of 2 GiB is refused: the process of ${before.toFixed(0)} MiB grew by ${growth.toFixed(0)} MiB`,
  );
  return growth <= LIMITS.refusedMiB;
}

interface Counts {
  readonly cpuMs: number;
  readonly writes: number;
  readonly puts: number;
}

async function countsOf(sync: Sync, { requests }: StandIn): Promise<Counts> {
  const all = await metricOf(sync, 'rest_client_requests_total');
  const reads = await metricOf(sync, 'rest_client_requests_total', 'method="GET"');
  return { cpuMs: await cpuMsOf(sync), writes: all - reads, puts: requests.put };
}

/** User and system time in ms; the kernel counts in hundredths of a second. */
async function cpuMsOf({ child }: Sync): Promise<number> {
  const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function peakMiB({ child }: Sync): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

async function metricOf({ healthUrl }: Sync, name: string, label = ''): Promise<number> {
  const text = await fetch(`${healthUrl}/metrics`).then((answer) => answer.text());
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(label));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

const hasCreated = async (sync: Sync, count: number): Promise<boolean> =>
  (await metricOf(sync, 'elsi_actions_total', 'action="create"').catch(() => 0)) >= count;

async function nextLists({ requests }: StandIn, count: number): Promise<void> {
  const last = requests.list + count;
  await until(`${count} lists`, () => requests.list >= last);
}

const DEADLINE_MS = 300_000;

async function until(what: string, isThere: () => boolean | Promise<boolean>): Promise<void> {
  await waitFor(what, async () => isThere(), { limitMs: DEADLINE_MS });
}

const memory = z.object({ heldMiB: z.number(), residentMiB: z.number() });
const report = z.object({ samples: z.array(memory), cpuSeconds: z.number() });

/** Bundled as in the image: reading TypeScript sources takes memory that no pod pays for. */
async function benchMemory(
  { directory, standIn, say }: Bench,
  known: number,
  polls: number,
): Promise<boolean> {
  const outfile = join(directory, 'elsi-polls.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'elsi-polls.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    banner: { js: BANNER },
    logLevel: 'warning',
  });
  const args = ['--expose-gc', outfile, standIn.url, directory, String(known), String(polls)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the process of ${polls} polls ended with exit code ${String(code)}`);
  const { samples, cpuSeconds } = report.parse(JSON.parse(Buffer.concat(chunks).toString()));
  const each = ((cpuSeconds * 1000) / polls).toFixed(0);
  const held = samples.map(({ heldMiB }) => heldMiB);
  const resident = Math.max(...samples.map(({ residentMiB }) => residentMiB)).toFixed(0);
  say(`${polls} polls of ${known} tasks, ${each} ms each; memory in use at each tenth:`);
  say(`  ${held.map((mib) => mib.toFixed(1)).join(' ')} MiB; resident at most ${resident} MiB`);
  // The least of each half: how much waits to be collected at a moment is chance.
  const half = Math.ceil(held.length / 2);
  return Math.min(...held.slice(half)) - Math.min(...held.slice(0, half)) <= LIMITS.flatMiB;
}
