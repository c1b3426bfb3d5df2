import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { build } from 'esbuild';
import { z } from 'zod';
import { aRequest, RECORDINGS, wav } from '../../src/agent/testing/fixtures.ts';
import { AGENT_NODE_OPTIONS } from '../../src/jobs/resources.ts';
import { BANNER } from '../build.ts';

export interface PlanBench {
  readonly files: number;
  readonly perDirectory: number;
  readonly rounds: number;
  readonly dir?: string;
}

/** What the design allows for 100 000 recordings; a busy machine stretches the time, but not that on a processor. */
const LIMITS = { files: 100_000, cpuSeconds: 5, peakMiB: 200, reportBytes: 2048 };

/** What a step's process says of itself at its end. */
const cost = z.object({
  exitCode: z.number(),
  report: z.string(),
  seconds: z.number(),
  cpuSeconds: z.number(),
  peakMiB: z.number(),
});
type Cost = z.output<typeof cost>;

interface Bench {
  readonly store: string;
  readonly request: string;
  readonly step: string;
}

/** Plans and publishes one dataset, each step in a process of its own as in a pod. False above a limit. */
export async function benchPlan({ files, perDirectory, rounds, dir }: PlanBench): Promise<boolean> {
  const store = await mkdtemp(join(dir ?? tmpdir(), 'bench-plan-'));
  try {
    console.log(`making ${files} recordings, ${perDirectory} in a directory ...`);
    makeDataset(store, files, perDirectory);
    const bench = { store, request: join(store, 'request.json'), step: await bundleStep(store) };
    const command = ['cp', '{input}', '{output}'];
    const request = aRequest({ command, outputs: [{ path: 'raw/{rel}.copy' }] });
    await writeFile(bench.request, JSON.stringify(request));
    let isWithin = true;
    for (let round = 0; round < rounds; round++) {
      // oxlint-disable-next-line no-await-in-loop -- side by side they would disturb each other
      isWithin = (await benchRound(bench, files)) && isWithin;
    }
    return isWithin;
  } finally {
    await rm(store, { recursive: true, force: true });
  }
}

async function benchRound(bench: Bench, files: number): Promise<boolean> {
  await rm(join(bench.store, 'lab/corpus/outputs'), { recursive: true, force: true });
  const baseline = readEach(join(bench.store, 'lab/corpus', RECORDINGS));
  console.log(`baseline (open, stat, read 512 bytes, close, one after the other): ${baseline.toFixed(2)} s`);
  const prepared = show('prepare', await runStep('prepare', bench), baseline);
  await run('model', bench);
  const observed = show('observe until it answers', await runStep('observe', bench), baseline);
  const published = show('publish', await runStep('publish', bench), baseline);
  const manifest = await stat(join(bench.store, 'lab/corpus/outputs/result/manifest.json'));
  console.log(`manifest: ${(manifest.size / 1024 / 1024).toFixed(1)} MiB`);
  if (files !== LIMITS.files) return true;
  const costs = [prepared, observed, published];
  return (
    prepared.cpuSeconds <= LIMITS.cpuSeconds &&
    costs.every(({ peakMiB }) => peakMiB <= LIMITS.peakMiB) &&
    costs.every(({ report }) => Buffer.byteLength(report) <= LIMITS.reportBytes)
  );
}

function show(step: string, measured: Cost, baseline: number): Cost {
  const { exitCode, report, seconds, cpuSeconds, peakMiB } = measured;
  if (exitCode !== 0) throw new Error(`${step} ended with exit code ${exitCode}: ${report}`);
  const ratio = (seconds / baseline).toFixed(1);
  const status = report === '' ? '' : `, ${Buffer.byteLength(report)} bytes for the status: ${report}`;
  const time = `${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} s of them on a processor`;
  console.log(`${step}: ${time} (${ratio} x baseline), peak ${peakMiB} MiB${status}`);
  return measured;
}

function makeDataset(store: string, files: number, perDirectory: number): void {
  const content = wav(0.01);
  for (let index = 0; index < files; index++) {
    const session = `session-${Math.floor(index / perDirectory)}`;
    const folder = join(store, 'lab/corpus', RECORDINGS, session);
    if (index % perDirectory === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${index}.wav`), content);
  }
}

/** Bundled as in the image: reading TypeScript sources takes 40 MiB that no pod pays for. */
async function bundleStep(store: string): Promise<string> {
  const outdir = join(store, 'bundle');
  await build({
    entryPoints: [join(import.meta.dirname, 'plan-step.ts')],
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    outExtension: { '.js': '.mjs' },
    banner: { js: BANNER },
    logLevel: 'warning',
  });
  return join(outdir, 'plan-step.mjs');
}

function readEach(root: string): number {
  const started = performance.now();
  const buffer = Buffer.alloc(512);
  for (const folder of readdirSync(root)) {
    for (const name of readdirSync(join(root, folder))) {
      const fd = openSync(join(root, folder, name), 'r');
      fstatSync(fd);
      readSync(fd, buffer, 0, buffer.length, 0);
      closeSync(fd);
    }
  }
  return (performance.now() - started) / 1000;
}

async function runStep(step: string, bench: Bench): Promise<Cost> {
  const lines = (await run(step, bench)).trim().split('\n');
  return cost.parse(JSON.parse(lines.at(-1) ?? ''));
}

async function run(step: string, { step: script, store, request }: Bench): Promise<string> {
  const child = spawn(process.execPath, [script, step, store, request], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: AGENT_NODE_OPTIONS },
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the process of ${step} ended with exit code ${String(code)}`);
  return Buffer.concat(chunks).toString();
}
