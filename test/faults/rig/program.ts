import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type RunResult, tryRun } from '../../../hack/cluster/exec.ts';
import { ROOT } from '../../../hack/gen/files.ts';
import type * as agent from '../../../src/agent/index.ts';
import type * as loop from '../../../src/api/loop.ts';

/** Root of the program under test: this tree, or a copy with a known bug in it. */
const SOURCE = process.env['ANALYSIS_OPERATOR_SOURCE'] ?? ROOT;

// What a played node runs is the program under test, so that a bug of the agent is found like one of the operator.
export const { runAgent }: typeof agent = await import(join(SOURCE, 'src/agent/index.ts'));
export const { MODEL_LOOP }: typeof loop = await import(join(SOURCE, 'src/api/loop.ts'));

/** Where a container of the agent finds things. Plain data: another process may be told. */
export const place = z.object({
  requestFile: z.string(),
  terminationLog: z.string(),
  storeRoot: z.string(),
  stagingRoot: z.string(),
  dataMount: z.string(),
  outMount: z.string(),
  podUid: z.string(),
  podName: z.string(),
  node: z.string(),
});
export type Place = z.output<typeof place>;

type StepOptions = Partial<Pick<agent.AgentOptions, 'signal' | 'now'>> & {
  /** Of another version. */
  readonly agent?: typeof runAgent;
};

/** Runs a step of the agent as its container would; returns its exit code. */
export function runStep(
  step: agent.AgentStep,
  where: Place,
  { agent: run = runAgent, ...options }: StepOptions = {},
): Promise<number> {
  return run(step, {
    signal: new AbortController().signal,
    log: () => undefined,
    now: () => new Date(),
    listen: { host: '127.0.0.1', port: 0 },
    scanIntervalMs: 20,
    ...where,
    ...options,
  });
}

/** Exit code of a container that was killed. */
export const KILLED = 137;

/** Runs publish in a process of its own, which is killed when it begins to clear away its staging. */
export async function killedWhileClearing(where: Place): Promise<number> {
  const main = fileURLToPath(import.meta.resolve('./killed-publish.ts'));
  const child = spawn(process.execPath, [main, JSON.stringify(where)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await once(child, 'exit');
  return child.signalCode === 'SIGKILL' ? KILLED : (child.exitCode ?? 1);
}

/** Runs a command of the program to its end. */
export const runCommand = (...args: readonly string[]): Promise<RunResult> =>
  tryRun(process.execPath, [join(SOURCE, 'src/main.ts'), ...args]);
