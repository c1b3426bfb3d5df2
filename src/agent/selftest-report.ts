import { EXIT } from '../api/request.ts';
import { isStorageError, toFailure } from './failure.ts';
import { selfTest } from './selftest.ts';
import type { CheckResult } from './selftest.ts';

/** Runs the self-test and prints what it saw. Returns the exit code: ok or storage. */
export async function reportSelfTest(
  directory: string,
  { json, log }: { readonly json: boolean; readonly log: (line: string) => void },
): Promise<number> {
  const results = await selfTest(directory).catch((error: unknown): CheckResult[] => [
    { name: `writing in ${directory}`, ok: false, evidence: explain(error) },
  ]);
  const failed = results.filter(({ ok }) => !ok).length;
  if (json) log(JSON.stringify({ directory, ok: failed === 0, checks: results }));
  else print(directory, results, log);
  return failed === 0 ? EXIT.ok : EXIT.storage;
}

function print(directory: string, results: readonly CheckResult[], log: (line: string) => void): void {
  for (const { name, ok, evidence } of results) log(`${ok ? 'ok    ' : 'FAILED'} ${name}: ${evidence}`);
  const failed = results.filter(({ ok }) => !ok).length;
  log(
    failed === 0
      ? `${directory} is fit for results`
      : `${directory} is not fit for results: ${failed} of ${results.length} checks failed; use another volume, or mount this one with other options`,
  );
}

function explain(error: unknown): string {
  if (isStorageError(error)) return toFailure(error).message;
  return error instanceof Error ? error.message : String(error);
}
