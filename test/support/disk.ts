import { run, succeeds } from '../../hack/cluster/exec.ts';

/** Makes a file that holds an empty ext4. No blocks are kept back for root: what is full for a test is full for a pod. */
export async function makeDisk(image: string, mib: number): Promise<boolean> {
  await run('truncate', ['--size', `${mib}M`, image]);
  return succeeds('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
}

/** Mounts the file system in a file, which needs root and a loop device; false where that cannot be done. */
export function mountDisk(image: string, path: string, options: readonly string[] = []): Promise<boolean> {
  return succeeds('mount', ['-o', ['loop', ...options].join(','), image, path]);
}

/** Takes whatever is mounted there away, also when something still holds it. */
export async function unmount(path: string): Promise<void> {
  await run('sh', ['-c', `while mountpoint -q "$1"; do umount -l "$1" || exit 1; done`, 'sh', path]);
}
