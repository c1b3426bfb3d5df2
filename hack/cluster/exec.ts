import { spawn } from 'node:child_process';
import process from 'node:process';

/** Where and how a command runs; `env` is added to the environment of this process. */
export type RunOptions = {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Milliseconds until the command is killed; default 10 minutes. */
  readonly timeoutMs?: number;
};

/** What a finished command left behind; `code` is null when a signal ended it. */
export type RunResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

const DEFAULT_TIMEOUT_MS = 600_000;
const SHOWN_LINES = 15;

/** A command that could not start or ended with another code than 0; the message ends with its last lines. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly result: RunResult;
  constructor(command: string, result: RunResult) {
    const lines = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-SHOWN_LINES);
    super(`'${command}' ended with code ${result.code ?? 'none'}:\n  ${lines.join('\n  ')}`);
    this.result = result;
  }
}

/** Runs a command to its end and returns its output whatever its code; rejects only when it cannot start. */
export function tryRun(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.stdin ?? '');
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}

/** Runs a command to its end and returns its stdout; a code other than 0 is a {@link CommandError}. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await tryRun(command, args, options);
  if (result.code !== 0) throw new CommandError([command, ...args].join(' ').slice(0, 300), result);
  return result.stdout;
}

/** Runs a command and says whether it ended with code 0; a command that does not exist counts as no. */
export async function succeeds(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<boolean> {
  const result = await tryRun(command, args, options).catch(() => undefined);
  return result?.code === 0;
}
