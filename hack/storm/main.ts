import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { ROOT } from '../gen/files.ts';
import { runMocha } from '../test/mocha.ts';
import { stormReport, summaryLine, writeReport } from './report.ts';

interface Flags {
  readonly seed: number;
  readonly minutes: number;
  readonly tasks: number;
  readonly faultEvery: number;
  readonly docs: boolean;
}

function count(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new InvalidArgumentError('must be a whole number from 1');
}

const program = new Command('storm')
  .description(
    'Runs many tasks on the native cluster while everything below them dies, one at a time, and judges what became of each. The same seed is the same storm.',
  )
  .option('--seed <n>', 'what the storm follows from', count, 1)
  .option('--minutes <n>', 'how long it blows; up to 15 minutes of calm follow', count, 60)
  .option('--tasks <n>', 'tasks that people ask for', count, 300)
  .option('--fault-every <n>', 'mean seconds between two faults', count, 60)
  .option('--docs', 'write the report into docs/reliability.md', false);

/** Above what a storm and the calm after it may take. */
const MORE_MINUTES = 75;

async function main({ seed, minutes, tasks, faultEvery, docs }: Flags): Promise<number> {
  const file = join(ROOT, 'build', 'storm', `${seed}.json`);
  rmSync(file, { force: true });
  const timeout = String((minutes + MORE_MINUTES) * 60_000);
  const { code } = await runMocha(['--timeout', timeout, 'test/storm/storm.test.ts'], {
    STORM_SEED: String(seed),
    STORM_MINUTES: String(minutes),
    STORM_TASKS: String(tasks),
    STORM_FAULT_EVERY: String(faultEvery),
    STORM_REPORT: file,
    ANALYSIS_CLUSTER_AUDIT: 'true',
  });
  if (!existsSync(file)) {
    console.log('storm: broke off before it could be judged; see above');
    return 1;
  }
  const report = stormReport.parse(JSON.parse(readFileSync(file, 'utf8')));
  if (docs) writeReport(report);
  for (const violation of report.violations) console.log(`VIOLATION ${violation}`);
  console.log(summaryLine(report));
  return code === 0 && report.violations.length === 0 ? 0 : 1;
}

program.action(async (flags: Flags) => {
  process.exitCode = await main(flags);
});
await program.parseAsync(process.argv);
