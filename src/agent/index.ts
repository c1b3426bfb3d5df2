import { hostname } from 'node:os';
import { OBSERVE_PORT } from '../api/keys.ts';
import type { AgentReport } from '../api/request.ts';
import { EXIT, MOUNT, REQUEST_FILE } from '../api/request.ts';
import { readRequest } from './context.ts';
import type { AgentOptions } from './context.ts';
import { AgentFailure, exitCodeOf, toFailure } from './failure.ts';
import { observe } from './observe.ts';
import { prepare } from './prepare.ts';
import type { StepResult } from './prepare.ts';
import { publish } from './publish.ts';
import { writeReport } from './report.ts';

export type { AgentOptions } from './context.ts';

export const AGENT_STEPS = ['prepare', 'observe', 'publish'] as const;
export type AgentStep = (typeof AGENT_STEPS)[number];

/** Options of the containers of a pod: the fixed mounts, and the downward API's environment. */
export function agentOptions(
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): AgentOptions {
  return {
    requestFile: `${MOUNT.request}/${REQUEST_FILE}`,
    storeRoot: MOUNT.store,
    stagingRoot: MOUNT.staging,
    dataMount: MOUNT.data,
    outMount: MOUNT.out,
    podUid: env['POD_UID'] ?? '',
    podName: env['POD_NAME'] ?? hostname(),
    node: env['NODE_NAME'] ?? '',
    terminationLog: '/dev/termination-log',
    signal,
    log: (line) => process.stdout.write(`${line}\n`),
    now: () => new Date(),
    listen: { port: OBSERVE_PORT },
    scanIntervalMs: 1000,
  };
}

/** Runs one step to its end: logs, writes the termination message, returns the exit code. Never throws. */
export async function runAgent(step: AgentStep, options: AgentOptions): Promise<number> {
  process.umask(0o002);
  const { exitCode, report, afterwards } = await runStep(step, options).catch(failed);
  if (report.category !== undefined) options.log(`${report.category}: ${report.message}`);
  if (step !== 'observe') await writeReport(options.terminationLog, report, options.log);
  await afterwards?.();
  return exitCode;
}

async function runStep(step: AgentStep, options: AgentOptions): Promise<StepResult> {
  if (options.podUid === '')
    throw new AgentFailure('AgentError', 'POD_UID is not set: the pod must pass it from the downward API');
  switch (step) {
    case 'prepare':
      return prepare(await readRequest(options.requestFile), options);
    case 'publish':
      return publish(await readRequest(options.requestFile), options);
    case 'observe':
      await observe(await readRequest(options.requestFile), options);
      return { exitCode: EXIT.ok, report: { v: 1, message: 'stopped' } };
  }
}

function failed(error: unknown): StepResult {
  const failure = toFailure(error);
  const report: AgentReport = { v: 1, category: failure.category, message: failure.message };
  return { exitCode: exitCodeOf(failure.category), report };
}
