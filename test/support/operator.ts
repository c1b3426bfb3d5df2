import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../../hack/cluster/wait.ts';
import { ROOT } from '../../hack/gen/files.ts';
import { eventually } from './eventually.ts';

/** A controller process of its own, so that tests can really kill it. */
export interface Operator {
  readonly healthUrl: string;
  /** Most memory that it ever held, in bytes. */
  peakMemory(): Promise<number>;
  /** Passes over single tasks so far, failed ones included. */
  passes(): Promise<number>;
  /** Lines of its log so far. */
  log(): readonly string[];
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<number | null>;
  readonly pid: number;
  /** Freezes and thaws the process, or tells something to a module that was loaded before it. */
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGUSR2'): void;
  /** Its exit code, once it has ended by itself. */
  exited(): Promise<number | null>;
}

export type OperatorConfig = Readonly<Record<string, unknown>> & { readonly leaderElection?: object };

export interface OperatorOptions {
  readonly kubeconfig: string;
  /** Watched namespaces; also the place of the Lease. */
  readonly namespace: string;
  /** Over the configuration of tests; `leaderElection` over its single keys. */
  readonly config?: OperatorConfig;
  readonly env?: Readonly<Record<string, string>>;
  /** A module that is loaded before the operator. */
  readonly preload?: string;
  /** The checkout that it is started from. @default this one, or the one that `ANALYSIS_OPERATOR_SOURCE` names */
  readonly source?: string;
}

/** A machine that runs other tests beside this one starts a process slowly. */
const START_MS = 60_000;

/** Starts the controller from its sources and waits until it is ready. */
export async function startOperator({
  kubeconfig,
  namespace,
  config = {},
  ...process
}: OperatorOptions): Promise<Operator> {
  const base = {
    store: { claimName: 'datasets' },
    agent: { image: 'example.org/agent:test' },
    namespaces: [namespace],
    leaderElection: { namespace, leaseDurationSeconds: 3, renewDeadlineSeconds: 2, retryPeriodSeconds: 1 },
    progress: { enabled: false },
  };
  const leaderElection = { ...base.leaderElection, ...config.leaderElection };
  return startProgram('controller', {
    kubeconfig,
    config: { ...base, ...config, leaderElection },
    ...process,
  });
}

export type ProgramOptions = Pick<OperatorOptions, 'kubeconfig' | 'env' | 'preload' | 'source'> & {
  readonly config: object;
};

/** Starts a command of the program that serves health checks, and waits until it is ready. */
export async function startProgram(
  command: string,
  { kubeconfig, config, env = {}, preload, source }: ProgramOptions,
): Promise<Operator> {
  const port = await freePort();
  const file = join(await mkdtemp(join(tmpdir(), `${command}-`)), 'config.yaml');
  await writeFile(file, stringify({ health: { port, host: '127.0.0.1' }, ...config }));
  const root = source ?? process.env['ANALYSIS_OPERATOR_SOURCE'] ?? ROOT;
  const args = [join(root, 'src/main.ts'), command, '--config', file, '--kubeconfig', kubeconfig];
  const before = preload === undefined ? [] : ['--import', preload];
  const child = spawn(process.execPath, [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LOG_LEVEL: 'info', ...env },
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
  const healthUrl = `http://127.0.0.1:${port}`;
  const operator = {
    healthUrl,
    pid: child.pid ?? 0,
    peakMemory: () => peakMemoryOf(child),
    passes: () => passesOf(healthUrl),
    log: () => lines.join('').split('\n'),
    stop: (signal?: 'SIGTERM' | 'SIGKILL') => stop(child, signal),
    signal: (name: NodeJS.Signals) => void child.kill(name),
    exited: () => exitOf(child),
  };
  try {
    await eventually('it is ready', () => isReady(child, operator), START_MS);
  } catch (error) {
    // Left alone it would keep the test process alive for ever.
    await stop(child, 'SIGKILL');
    throw new Error(`${command} did not start; its log ends with\n${operator.log().slice(-10).join('\n')}`, {
      cause: error,
    });
  }
  return operator;
}

async function peakMemoryOf({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error(`no VmHWM in the status of process ${pid}`);
  return Number(kib) * 1024;
}

const PASSES = /^controller_runtime_reconcile_total\{controller="analysistask",.*\} (\d+)$/gm;

async function passesOf(healthUrl: string): Promise<number> {
  const text = await (await fetch(`${healthUrl}/metrics`)).text();
  return [...text.matchAll(PASSES)].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function isReady(child: ChildProcess, operator: Operator): Promise<true | undefined> {
  if (child.exitCode !== null)
    throw new Error(`the operator ended with code ${child.exitCode}:\n${operator.log().join('\n')}`);
  const answer = await fetch(`${operator.healthUrl}/readyz`).catch(() => undefined);
  return answer?.ok ? true : undefined;
}

async function stop(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const closed = once(child, 'close');
  child.kill(signal);
  const last = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await closed;
  clearTimeout(last);
  return child.exitCode;
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  return child.exitCode;
}
