/** One step of the agent in a process of its own: `node plan-step.mjs prepare|model|observe|publish STORE REQUEST`. */
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { runAgent } from '../../src/agent/index.ts';
import type { AgentOptions } from '../../src/agent/index.ts';
import { openPlan } from '../../src/agent/plan-file.ts';

const [step = '', store = '', requestFile = ''] = process.argv.slice(2);
const staging = join(store, 'lab/corpus/outputs/.staging/task-1/pod-1');
const terminationLog = join(store, 'termination');

function optionsOf(signal: AbortSignal, onListening?: () => void): AgentOptions {
  return {
    requestFile,
    storeRoot: store,
    stagingRoot: staging,
    dataMount: '/data',
    outMount: '/out',
    podUid: 'pod-1',
    podName: 'bench',
    node: 'here',
    terminationLog,
    signal,
    log: () => undefined,
    now: () => new Date(),
    listen: { host: '127.0.0.1', port: 0 },
    ...(onListening === undefined ? {} : { onListening }),
    scanIntervalMs: 10,
  };
}

/** Prints what the step cost, as the last line. */
async function measure(run: () => Promise<number>): Promise<void> {
  const started = performance.now();
  const exitCode = await run();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage();
  const cpuSeconds = (user + system) / 1e6;
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  const report = step === 'observe' ? '' : await readFile(terminationLog, 'utf8');
  console.log(JSON.stringify({ exitCode, report, seconds, cpuSeconds, peakMiB }));
}

/** Until the sidecar answers; then it is stopped. Units have ended already, so it records while it can. */
async function observeOnce(): Promise<number> {
  const stop = new AbortController();
  return runAgent(
    'observe',
    optionsOf(stop.signal, () => stop.abort()),
  );
}

/** The real loop would spend its time in a hundred thousand processes; what it leaves behind is made directly. */
async function playModel(): Promise<void> {
  const plan = await openPlan(join(staging, 'plan.json'));
  if (plan === undefined) throw new Error(`prepare left no plan in ${staging}`);
  for await (const { id, outputs } of plan.units()) {
    for (const { path } of outputs) writeFileSync(join(staging, 'out', path), 'done\n');
    writeFileSync(join(staging, 'ctl', `${id}.exit`), '0\n');
  }
}

if (step === 'prepare' || step === 'publish')
  await measure(() => runAgent(step, optionsOf(new AbortController().signal)));
else if (step === 'observe') await measure(observeOnce);
else await playModel();
