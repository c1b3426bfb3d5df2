import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { identify, isAlive } from './processes.ts';

const LIMIT_MS = 3_600_000;

/** Runs `work` while no other process holds the lock file; `onWait` is told once who does. A dead holder's lock is taken over. */
export async function withLock<T>(
  file: string,
  onWait: (holder: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const deadline = Date.now() + LIMIT_MS;
  let told = false;
  while (!(await take(file))) {
    if (Date.now() > deadline)
      throw new Error(`${file} is held for an hour: end its process, or remove the file`);
    if (!told) onWait(`another process (${await holderOf(file)})`);
    told = true;
    await sleep(200);
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

/** Whether a living process holds the lock. */
export async function isLocked(file: string): Promise<boolean> {
  const [pid = '', startTime = ''] = (await holderOf(file)).split(' ');
  return startTime !== '' && isAlive({ pid: Number(pid), startTime });
}

async function take(file: string): Promise<boolean> {
  const own = identify(process.pid);
  const handle = await open(file, 'wx').catch(() => undefined);
  if (handle !== undefined) {
    await handle.writeFile(`${process.pid} ${own?.startTime ?? ''}`);
    await handle.close();
    return true;
  }
  const holder = await holderOf(file);
  // An empty file is one whose holder is about to write its name.
  if (holder !== '' && !(await isLocked(file))) await rm(file, { force: true });
  return false;
}

async function holderOf(file: string): Promise<string> {
  return (await readFile(file, 'utf8').catch(() => '')).trim();
}
