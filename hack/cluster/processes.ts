import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

/** A long-running program of the cluster. */
export type ProcessSpec = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment of the command that starts it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Text of the files it reads at its start: a change means a restart. */
  readonly configuration?: string;
};

/** A process id together with the kernel's start time, so a reused pid is never mistaken for the old process. */
export type ProcessId = { readonly pid: number; readonly startTime: string };

const ProcessRecord = z.object({ pid: z.number(), startTime: z.string(), fingerprint: z.string() });
const CRASH_LIMIT = 20;
const SUPERVISOR = join(import.meta.dirname, 'supervise.sh');

/** Start time in clock ticks since boot from the text of `/proc/<pid>/stat`; the name in it may hold blanks and `)`. */
export function startTimeOf(stat: string): string | undefined {
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .at(19);
}

/** Whether exactly this process still runs (a zombie does not). */
export function isAlive(id: ProcessId, proc = '/proc'): boolean {
  const file = join(proc, String(id.pid), 'stat');
  if (!existsSync(file)) return false;
  try {
    const stat = readFileSync(file, 'utf8');
    return startTimeOf(stat) === id.startTime && !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

function fingerprintOf(spec: ProcessSpec): string {
  const parts = [spec.command, spec.args, spec.configuration ?? ''];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Identifies a running process; undefined when there is none with that pid. */
export function identify(pid: number): ProcessId | undefined {
  try {
    const startTime = startTimeOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    return startTime === undefined ? undefined : { pid, startTime };
  } catch {
    return undefined;
  }
}

/** Starts and stops the supervised processes whose records lie in one folder. */
export type ProcessTable = {
  /** Makes `spec` run: nothing to do if it does, a restart if its arguments changed. Says what it did. */
  readonly ensure: (spec: ProcessSpec) => Promise<'running' | 'started' | 'restarted'>;
  readonly alive: (name: string) => Promise<boolean>;
  /** Stops by TERM, after `graceMs` by KILL; resolves when the process and its supervisor are gone. */
  readonly stop: (name: string, graceMs?: number) => Promise<void>;
  readonly names: () => Promise<readonly string[]>;
};

/** Opens the table of `runDir` (records) and `logDir` (one appended log per process). */
export function processTable(runDir: string, logDir: string): ProcessTable {
  const recordFile = (name: string): string => join(runDir, `${name}.json`);
  const childFile = (name: string): string => join(runDir, `${name}.child`);
  const read = async (name: string): Promise<z.output<typeof ProcessRecord> | undefined> => {
    const text = await readFile(recordFile(name), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : ProcessRecord.parse(JSON.parse(text));
  };
  const start = async (spec: ProcessSpec): Promise<void> => {
    await Promise.all([mkdir(runDir, { recursive: true }), mkdir(logDir, { recursive: true })]);
    const log = await open(join(logDir, `${spec.name}.log`), 'a');
    const args = [SUPERVISOR, childFile(spec.name), String(CRASH_LIMIT), spec.command, ...spec.args];
    const child = spawn('/bin/sh', args, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { ...process.env, ...spec.env },
    });
    child.unref();
    await log.close();
    const id = child.pid === undefined ? undefined : identify(child.pid);
    if (id === undefined) throw new Error(`${spec.name} did not start: /bin/sh could not be run`);
    await writeFile(recordFile(spec.name), JSON.stringify({ ...id, fingerprint: fingerprintOf(spec) }));
  };
  const alive = async (name: string): Promise<boolean> => {
    const record = await read(name);
    return record !== undefined && isAlive(record);
  };
  const stop = async (name: string, graceMs = 15_000): Promise<void> => {
    const ids = [await read(name), await readChild(childFile(name))].filter((id) => id !== undefined);
    await endAll(ids, graceMs);
    await Promise.all([rm(recordFile(name), { force: true }), rm(childFile(name), { force: true })]);
  };
  const ensure = async (spec: ProcessSpec): Promise<'running' | 'started' | 'restarted'> => {
    const record = await read(spec.name);
    const running = record !== undefined && isAlive(record);
    if (running && record.fingerprint === fingerprintOf(spec)) return 'running';
    await stop(spec.name);
    await start(spec);
    return running ? 'restarted' : 'started';
  };
  const names = async (): Promise<readonly string[]> =>
    (await readdir(runDir).catch(() => []))
      .filter((file) => file.endsWith('.json'))
      .map((file) => file.slice(0, -'.json'.length));
  return { ensure, alive, stop, names };
}

async function readChild(file: string): Promise<ProcessId | undefined> {
  const [pid, startTime] = (await readFile(file, 'utf8').catch(() => '')).trim().split(' ');
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
}

/** Sends a signal unless the process is gone or its pid belongs to another one by now. */
export function signal(id: ProcessId, name: NodeJS.Signals): void {
  if (!isAlive(id)) return;
  try {
    process.kill(id.pid, name);
  } catch {
    // It ended between the check and the signal.
  }
}

/** Ends processes by TERM, those that remain after `graceMs` by KILL, and waits until all are gone (10 s more at most). */
export async function endAll(ids: readonly ProcessId[], graceMs: number): Promise<void> {
  for (const id of ids) signal(id, 'SIGTERM');
  if (await gone(ids, graceMs)) return;
  for (const id of ids) signal(id, 'SIGKILL');
  if (!(await gone(ids, 10_000))) {
    throw new Error(
      `pids ${ids
        .filter((id) => isAlive(id))
        .map((id) => id.pid)
        .join(', ')} survive SIGKILL: look for a hung mount`,
    );
  }
}

async function gone(ids: readonly ProcessId[], limitMs: number): Promise<boolean> {
  const deadline = Date.now() + limitMs;
  while (Date.now() < deadline) {
    if (!ids.some((id) => isAlive(id))) return true;
    await sleep(20);
  }
  return !ids.some((id) => isAlive(id));
}
