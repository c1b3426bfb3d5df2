import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Finished, run } from './process.ts';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** Mocha prints its summary after the last hook; what keeps it from exiting then is a leak of a test. */
const LINGER = { after: /^ {2}\d+ passing\b/m, ms: 60_000 };

/** Runs these tests with a directory for temporary files of their own: also a test that is killed leaves nothing behind. */
export async function runMocha(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Finished> {
  const TMPDIR = await mkdtemp(join(tmpdir(), 'analysis-tests-'));
  await chmod(TMPDIR, 0o1777); // tests become other users
  try {
    return await run('mocha', ['--no-config', '--no-color', ...args], { TMPDIR, ...env }, LINGER);
  } finally {
    await rm(TMPDIR, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * Reads mocha's closing lines. Skipped tests count as failed, and so does a run that ended badly
 * without naming a failed test (a file that does not load, a crash).
 */
export function countsOf(output: string, code: number): Counts {
  const passed = numberBefore(output, 'passing');
  const failed = numberBefore(output, 'failing') + numberBefore(output, 'pending');
  const silent = failed === 0 && (code !== 0 || passed === 0);
  return { passed, failed: silent ? 1 : failed };
}

/** Mocha's own account of the tests that failed, without the list of those that passed; '' when none did. */
export function failuresOf(output: string): string {
  const at = [...output.matchAll(/^ {2}\d+ (?:failing|pending)$/gm)].at(0)?.index;
  return at === undefined ? '' : output.slice(at).trimEnd();
}

function numberBefore(output: string, word: string): number {
  const matches = [...output.matchAll(new RegExp(`^ {2}(\\d+) ${word}\\b`, 'gm'))];
  return Number(matches.at(-1)?.[1] ?? 0);
}
