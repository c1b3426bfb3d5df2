/**
 * Two ways to a file: on the calling thread, or through libuv's pool. Where the system has the answer at hand (a local
 * disk, a warm cache), handing each call to another thread costs several times what the call does; where every call
 * waits for a server, many must wait at once. Which it is, a few files tell.
 */
import { close, closeSync, fstatSync, open, openSync, read, readSync } from 'node:fs';
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { promisify } from 'node:util';
import { mapBounded } from '../lib/concurrent.ts';

/** Reads into a buffer at a position of an open file; the answer is the number of bytes. */
export type ReadAt = (buffer: Buffer, position: number) => number | Promise<number>;

export interface FileAccess {
  /** Opens for reading; a pipe does not block. */
  readonly open: (file: string) => number | Promise<number>;
  readonly read: (fd: number, buffer: Buffer, position: number) => number | Promise<number>;
  readonly close: (fd: number) => void | Promise<void>;
}

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;
const openInPool = promisify(open);
const readInPool = promisify(read);
const closeInPool = promisify(close);

const blocking: FileAccess = {
  open: (file) => openSync(file, FLAGS),
  read: (fd, buffer, position) => readSync(fd, buffer, 0, buffer.length, position),
  close: closeSync,
};

const pooled: FileAccess = {
  open: (file) => openInPool(file, FLAGS),
  read: async (fd, buffer, position) => (await readInPool(fd, buffer, 0, buffer.length, position)).bytesRead,
  close: closeInPool,
};

/** What the system knows of an open file; it was asked when the file was opened, so this does not wait. */
export const statOpen: (fd: number) => Stats = (fd) => fstatSync(fd);

const PROBED = 16;
const SLOW_MS = 0.1;
const IN_FLIGHT = 32;

/** Maps a batch of files; the order is kept. The first few are a probe of how fast the volume answers. */
export async function mapFiles<Item, Result>(
  items: readonly Item[],
  map: (item: Item, access: FileAccess) => Promise<Result>,
): Promise<Result[]> {
  const probe = items.slice(0, PROBED);
  const started = performance.now();
  const waited = waits();
  const first = await mapBounded(probe, 1, (item) => map(item, blocking));
  // A busy machine takes time as well, but it takes the processor away, where a file system makes the process wait.
  const isSlow = performance.now() - started > SLOW_MS * probe.length && waits() - waited >= probe.length;
  const rest = await mapBounded(items.slice(PROBED), isSlow ? IN_FLIGHT : 1, (item) =>
    map(item, isSlow ? pooled : blocking),
  );
  return [...first, ...rest];
}

function waits(): number {
  return process.resourceUsage().voluntaryContextSwitches;
}
