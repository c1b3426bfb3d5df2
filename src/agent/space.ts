import { statfs } from 'node:fs/promises';

/** Room on the volume of a directory, in bytes. A file system that does not know says 0 of 0. */
export interface Space {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Elastic file systems claim exbibytes, more than a JSON number holds exactly. */
const MOST = Number.MAX_SAFE_INTEGER;

/** What an ordinary user may still write on the volume of `directory`. */
export async function spaceOf(directory: string): Promise<Space> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: Math.min(MOST, bavail * bsize), totalBytes: Math.min(MOST, blocks * bsize) };
}
