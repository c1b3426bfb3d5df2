import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';

/** Runs programs that must not outlive this process. */
export type PieceRunner = {
  readonly start: (name: string, command: string, args: readonly string[]) => Promise<void>;
  /** Signals a program (default TERM; KILL follows after 3 s) and waits until it is gone. */
  readonly stop: (name: string, signal?: NodeJS.Signals) => Promise<void>;
  readonly runs: (name: string) => boolean;
};

const KILL_AFTER_MS = 3000;
const SETPRIV = '/usr/bin/setpriv';

/** A runner whose programs append to `<logDir>/<name>.log`. */
export function pieceRunner(logDir: string): PieceRunner {
  const children = new Map<string, ChildProcess>();
  process.once('exit', () => {
    for (const child of children.values()) child.kill('SIGKILL');
  });
  const runs = (name: string): boolean => {
    const child = children.get(name);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  };
  const start = async (name: string, command: string, args: readonly string[]): Promise<void> => {
    if (runs(name)) throw new Error(`${name} runs already`);
    const log = await open(join(logDir, `${name}.log`), 'a');
    // The kernel ends the child even when this process is killed without a chance to clean up.
    const guarded = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', command] : [command];
    const [first = command, ...rest] = [...guarded, ...args];
    const child = spawn(first, rest, { stdio: ['ignore', log.fd, log.fd] });
    children.set(name, child);
    await Promise.race([once(child, 'spawn'), once(child, 'error').then(([error]) => Promise.reject(error))]);
    await log.close();
  };
  const stop = async (name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    const child = children.get(name);
    if (child === undefined || !runs(name)) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    const killer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
    await gone;
    clearTimeout(killer);
  };
  return { start, stop, runs };
}
