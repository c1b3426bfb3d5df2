import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDir } from '../../hack/cluster/cache.ts';
import { run } from '../../hack/cluster/exec.ts';

const INSTALL_MS = 300_000;

/** A directory for PYTHONPATH with the packages that a requirements file pins; installed once per content. */
export async function pythonPackages(requirements: string): Promise<string> {
  const hash = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex')
    .slice(0, 16);
  const directory = join(cacheDir(), 'python', hash);
  if (existsSync(directory)) return directory;
  const unfinished = `${directory}.${process.pid}`;
  await mkdir(dirname(directory), { recursive: true });
  const how = ['--quiet', '--only-binary', ':all:', '--require-hashes', '--no-compile'];
  const args = ['-m', 'pip', 'install', ...how, '--target', unfinished, '--requirement', requirements];
  await run('python3', args, { timeoutMs: INSTALL_MS });
  // Whoever is first wins; the content is the same.
  await rename(unfinished, directory).catch(() => rm(unfinished, { recursive: true, force: true }));
  return directory;
}
