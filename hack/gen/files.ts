import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Root of the checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Path below the root -> content. */
export type Generated = Readonly<Record<string, string>>;

/** Path of each file that differs from what a generator would write. */
export async function stale(files: Generated): Promise<readonly string[]> {
  const checks = await Promise.all(
    Object.entries(files).map(async ([path, content]) => ((await current(path)) === content ? [] : [path])),
  );
  return checks.flat();
}

async function current(path: string): Promise<string | undefined> {
  try {
    return await readFile(join(ROOT, path), 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * The command line of every generator: writes the files, or with `--check` names the stale ones with the command that
 * repairs them and sets the exit code to 1.
 */
export async function writeOrCheck(script: string, files: Generated, args: readonly string[]): Promise<void> {
  const paths = await stale(files);
  if (args.includes('--check')) {
    if (paths.length === 0) return;
    process.stderr.write(`stale: ${paths.join(', ')}\nrepair with: node ${script}\n`);
    process.exitCode = 1;
    return;
  }
  for (const path of paths) {
    await mkdir(dirname(join(ROOT, path)), { recursive: true });
    await writeFile(join(ROOT, path), files[path] ?? '');
    process.stdout.write(`wrote ${path}\n`);
  }
}
