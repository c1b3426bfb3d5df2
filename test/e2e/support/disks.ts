import { chmod, chown, mkdir } from 'node:fs/promises';
import { run } from '../../../hack/cluster/exec.ts';
import { makeDisk, mountDisk, unmount } from '../../support/disk.ts';

/** What a store lies on: a directory of the machine, memory, or a file system of its own in a file. */
export interface VolumeSpec {
  readonly kind: 'directory' | 'tmpfs' | 'disk';
  readonly mib?: number;
  readonly owner: { readonly uid: number; readonly gid: number };
}

/** Makes the root of a store. */
export async function makeVolume(path: string, { kind, mib = 0, owner }: VolumeSpec): Promise<void> {
  await mkdir(path, { recursive: true });
  if (kind === 'disk' && !(await mountImage(path, mib))) await mountMemory(path, mib);
  if (kind === 'tmpfs') await mountMemory(path, mib);
  await chown(path, owner.uid, owner.gid);
  await chmod(path, 0o2775);
}

async function mountMemory(path: string, mib: number): Promise<void> {
  await run('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'e2e-store', path]);
}

/** An ext4 on a loop device. A machine without loop devices has a tmpfs instead, which is full and read-only in the same way. */
async function mountImage(path: string, mib: number): Promise<boolean> {
  const image = `${path}.img`;
  if ((await makeDisk(image, mib)) && (await mountDisk(image, path))) return true;
  console.log(`no loop device for ${path}: a tmpfs stands in for it`);
  return false;
}

/** Takes whatever is mounted there away, also when pods still hold it. */
export const removeVolume = unmount;

/** Remounts a volume for reading only, or for writing again; waits out a file that is being written. */
export async function setReadOnly(path: string, readOnly: boolean): Promise<void> {
  const how = `remount,${readOnly ? 'ro' : 'rw'}`;
  const script = 'for i in $(seq 100); do mount -o "$1" "$2" 2>/dev/null && exit 0; sleep 0.1; done; exit 1';
  await run('sh', ['-c', script, 'sh', how, path]);
}
