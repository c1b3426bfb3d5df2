import { appendFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { readResults } from '../../test/faults/rig/row.ts';
import { ROOT } from '../gen/files.ts';
import { runMocha } from '../test/mocha.ts';
import { MUTANTS } from './mutants/index.ts';
import type { Mutant } from './mutants/mutant.ts';
import { MUTANT } from './summary.ts';

/** Every file with rows or plans; each process runs its part of them. */
export const FAULT_FILES = 'test/faults/**/*.test.ts';

/** Where results go, and how many control planes may run side by side. */
export interface Work {
  readonly resultsFile: string;
  readonly jobs: number;
}

/** SHARD=i/n of the environment: the i-th (from 1) of n parts. */
export function shard(): readonly [part: number, parts: number] {
  const [part = 1, parts = 1] = (process.env['SHARD'] ?? '1/1').split('/').map(Number);
  return [part, parts];
}

/** Runs the mutants that are chosen and not killed yet; a mutant that its row lets live is a failed result. */
export async function runMutants(
  only: readonly string[] | undefined,
  { resultsFile, jobs }: Work,
): Promise<void> {
  const killed = new Set(
    readResults(resultsFile)
      .filter(({ ok }) => ok)
      .map(({ id }) => id),
  );
  const [part, parts] = shard();
  const waiting = MUTANTS.filter(({ name }, index) =>
    only ? only.includes(MUTANT + name) : !killed.has(MUTANT + name) && index % parts === part - 1,
  );
  const work = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant; mutant = waiting.shift())
      await tryMutant(MUTANT + mutant.name, mutant, resultsFile);
  };
  await Promise.all(Array.from({ length: jobs }, work));
}

async function tryMutant(id: string, mutant: Mutant, resultsFile: string): Promise<void> {
  console.log(`\n=== mutant ${mutant.name}: ${mutant.breaks}; ${mutant.row} must fail ===`);
  const started = performance.now();
  const outcome = await outcomeOf(mutant);
  const ms = Math.round(performance.now() - started);
  const isKilled = 'said' in outcome;
  const entry = {
    id,
    title: mutant.breaks,
    ok: isKilled,
    ms,
    ...(isKilled ? { said: outcome.said.slice(0, 500) } : { error: outcome.alive }),
  };
  appendFileSync(resultsFile, `${JSON.stringify(entry)}\n`);
  console.log(
    `=== mutant ${mutant.name}: ${isKilled ? `killed by ${mutant.row}` : outcome.alive} (${Math.round(ms / 1000)} s) ===`,
  );
}

/** Long enough for the right program, with few exceptions; a mutant that hangs is waited for so long. */
const RECOVERY_MS = 30_000;

/** Why a mutant proves nothing, or what its row said when it caught it. */
type Outcome = { readonly alive: string } | { readonly said: string };

async function outcomeOf(mutant: Mutant): Promise<Outcome> {
  const directory = await mkdtemp(join(tmpdir(), 'mutant-'));
  const results = join(directory, 'results.jsonl');
  try {
    await plant(mutant, directory);
    await runMocha([FAULT_FILES], {
      FAULTS_ONLY: mutant.row,
      FAULTS_RESULTS: results,
      FAULTS_RECOVERY_MS: String(mutant.recoveryMs ?? RECOVERY_MS),
      SHARD: '1/1',
      ANALYSIS_OPERATOR_SOURCE: directory,
    });
    const [row] = readResults(results).filter(({ id }) => id === mutant.row);
    if (!row) return { alive: `row ${mutant.row} did not run` };
    if (row.ok) return { alive: `alive: row ${mutant.row} passes with it` };
    // A mutant that cannot even start is caught by anything: it proves nothing.
    const said = row.error ?? '';
    return said.includes('controller did not start') ? { alive: `broken: ${said}` } : { said };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A copy of the program with the patch in it, also for the agent of played nodes; the rig stays as it is. */
async function plant({ name, edits }: Mutant, directory: string): Promise<void> {
  await cp(join(ROOT, 'src'), join(directory, 'src'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(directory, 'package.json'));
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  for (const { file, find, replace } of edits) {
    const path = join(directory, file);
    const text = await readFile(path, 'utf8');
    const parts = text.split(find);
    if (parts.length !== 2)
      throw new Error(`mutant ${name}: ${file} holds the text to change ${parts.length - 1} times, not once`);
    await writeFile(path, parts.join(replace));
  }
}
