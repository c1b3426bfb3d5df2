import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { eventually } from '../../support/eventually.ts';

/* Containers' processes, as the machine that is the cluster's node sees them. */

/** Command lines by which the containers of a task are known; arguments are separated by NUL. */
export const PROCESS = {
  prepare: /\0agent\0prepare\0/,
  observe: /\0agent\0observe\0/,
  publish: /\0agent\0publish\0/,
  loop: /\0analysis-loop\0/,
} as const;

const CATCH_MS = 60_000;
const CATCH_STEP_MS = 20;

const text = (file: string): string => {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // it has ended meanwhile
  }
};

/** Process ids of a pod whose command line matches. */
export function processesOf(podUid: string, pattern: RegExp): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids
    .filter((pid) => pattern.test(text(`/proc/${pid}/cmdline`)))
    .filter((pid) => text(`/proc/${pid}/cgroup`).includes(podUid))
    .map(Number);
}

/** Catches a process of a pod as soon as it runs, and sends it a signal. */
export async function signalWhenStarted(
  podUid: string,
  pattern: RegExp,
  signal: NodeJS.Signals,
): Promise<number> {
  const found = (): number | undefined => processesOf(podUid, pattern)[0];
  const pid = await eventually(`${pattern} runs in pod ${podUid}`, found, CATCH_MS, CATCH_STEP_MS);
  process.kill(pid, signal);
  return pid;
}

/** Bit of SIGTERM in the masks of /proc/<pid>/status. */
const TERM_BIT = 1n << 14n;

/** Waits until a stopped process was asked to end (kubelet's SIGTERM waits for it to go on), or was killed already. */
export async function askedToEnd(pid: number): Promise<void> {
  const isPending = (): true | undefined => {
    const state = stateOf(pid);
    if (state === undefined || state === 'Z') return true;
    const mask = /^ShdPnd:\s*([0-9a-f]+)/m.exec(text(`/proc/${pid}/status`))?.[1] ?? '0';
    return (BigInt(`0x${mask}`) & TERM_BIT) === 0n ? undefined : true;
  };
  await eventually(`process ${pid} is asked to end`, isPending, CATCH_MS);
}

export const go = (pid: number): void => void process.kill(pid, 'SIGCONT');

/** One letter, such as T for stopped; undefined when the process has ended. */
export const stateOf = (pid: number): string | undefined =>
  /^State:\s*(\w)/m.exec(text(`/proc/${pid}/status`))?.[1];

/** Whether a process has a file of this name open. */
export function hasOpen(pid: number, name: string): boolean {
  try {
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    return links.some((link) => link.endsWith(`/${name}`));
  } catch {
    return false; // it has ended, or closed one meanwhile
  }
}
