import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { readResults, type Result } from '../../test/faults/rig/row.ts';
import { ROOT } from '../gen/files.ts';
import { countsOf, runMocha } from '../test/mocha.ts';
import { FAULT_FILES, runMutants, shard, type Work } from './try-mutants.ts';
import { writeReport } from './report.ts';
import { sourcesHash } from './sources.ts';
import { MUTANT, summaryOf } from './summary.ts';

const HELP = `Usage: node hack/faults/main.ts [--only ID,ID] [--no-mutants] [--fresh] [--jobs N]

Runs every row of the fault matrix, every crash plan and every mutant against real servers. The last line is
"faults: <rows> rows, <plans> plans, <violations> violations, mutants <killed>/<total>".

  --only ID,ID    these rows, plans or mutants again, such as B3, A1/create-jobs@after-send or M/no-relist
  --no-mutants    leave the mutants out
  --fresh         forget what passed before with the same sources
  --jobs N        control planes that work side by side, some 1.5 GiB each; default 3: recoveries are mostly waiting

What passed is remembered in build/faults until a source changes, so a run that was interrupted goes on where it was.
SHARD=i/n runs the i-th of n parts; a run without SHARD afterwards collects them and does what is left.
A complete run writes its table into docs/reliability.md.`;

const OPTIONS = {
  only: { type: 'string' },
  'no-mutants': { type: 'boolean', default: false },
  fresh: { type: 'boolean', default: false },
  jobs: { type: 'string', default: '3' },
  help: { type: 'boolean' },
} as const;

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const only = values.only?.split(',');
  const resultsFile = join(ROOT, 'build', 'faults', `${await sourcesHash()}.jsonl`);
  mkdirSync(join(ROOT, 'build', 'faults'), { recursive: true });
  if (values.fresh) rmSync(resultsFile, { force: true });
  const jobs = jobsOf(values.jobs);
  const crashed = await runRows(only, { resultsFile, jobs });
  if (!values['no-mutants']) await runMutants(only, { resultsFile, jobs });
  return close(readResults(resultsFile), { only, crashed });
}

function jobsOf(text: string): number {
  const jobs = Number(text);
  if (Number.isInteger(jobs) && jobs >= 1 && jobs <= 16) return jobs;
  throw new Error(`--jobs is "${text}" but must be a whole number from 1 to 16`);
}

/** True when a run broke in a way that no row tells of, such as a file that does not load. */
async function runRows(only: readonly string[] | undefined, { resultsFile, jobs }: Work): Promise<boolean> {
  const rows = only?.filter((id) => !id.startsWith(MUTANT));
  if (rows?.length === 0) return false;
  const [part, parts] = shard();
  const before = readResults(resultsFile).length;
  const chosen = rows ? { FAULTS_ONLY: rows.join(',') } : {};
  const runs = Array.from({ length: rows ? 1 : jobs }, (_, index) =>
    runMocha([FAULT_FILES], {
      FAULTS_RESULTS: resultsFile,
      SHARD: `${(part - 1) * jobs + index + 1}/${parts * jobs}`,
      ...chosen,
    }),
  );
  const failures = (await Promise.all(runs))
    .filter(({ code }) => code !== 0)
    .map(({ code, output }) => countsOf(output, code).failed);
  const recorded = readResults(resultsFile)
    .slice(before)
    .filter(({ ok }) => !ok).length;
  return failures.reduce((sum, failed) => sum + failed, 0) > recorded;
}

function close(
  results: readonly Result[],
  { only, crashed }: { only: readonly string[] | undefined; crashed: boolean },
): number {
  const summary = summaryOf(results, only);
  const isComplete = only === undefined && process.env['SHARD'] === undefined && !crashed;
  if (isComplete) writeReport(summary);
  for (const { id, title, error } of summary.failed) console.log(`FAILED ${id} ${title}\n  ${error ?? ''}`);
  if (crashed) console.log('FAILED: the run itself broke; see above');
  const absent = (only ?? []).filter((id) => summary.results.every((shown) => shown.id !== id));
  if (absent.length > 0) console.log(`FAILED: nothing is called ${absent.join(', ')}`);
  const violations = summary.failed.length + absent.length + (crashed ? 1 : 0);
  const { rows, plans, killed, mutants } = summary;
  console.log(`faults: ${rows} rows, ${plans} plans, ${violations} violations, mutants ${killed}/${mutants}`);
  return violations === 0 && rows + plans + mutants > 0 ? 0 : 1;
}

process.exitCode = await main();
