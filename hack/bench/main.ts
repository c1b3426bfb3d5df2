import process from 'node:process';
import { Command } from 'commander';
import { benchElsi } from './elsi.ts';
import type { ElsiBench } from './elsi.ts';
import { benchPlan } from './plan.ts';
import type { PlanBench } from './plan.ts';

/*
 * Timings on shared machines are noisy, so every figure stands beside a baseline of the same run: what the least
 * program that could do it costs here and now.
 */
const program = new Command('bench').description('Measures what must be fast. Nothing here is a test.');

program
  .command('plan')
  .description(
    "prepare, observe and publish for one dataset with many recordings; exits 1 above the design's limits",
  )
  .option('--files <n>', 'recordings in the dataset', Number, 100_000)
  .option('--per-directory <n>', 'recordings in one directory', Number, 1000)
  .option('--rounds <n>', 'times that the whole is done, each on a fresh task', Number, 1)
  .option('--dir <path>', 'where the dataset is made; default is a temporary directory')
  .action(async (options: PlanBench) => {
    process.exitCode = (await benchPlan(options)) ? 0 : 1;
  });

program
  .command('elsi')
  .description(
    'elsi-sync with many tasks, against the stand-in and a real API server; exits 1 above the limits',
  )
  .option('--known <n>', 'tasks that it knows', Number, 10_000)
  .option('--polls <n>', 'rounds over which its memory is looked at', Number, 1000)
  .action(async (options: ElsiBench) => {
    process.exitCode = (await benchElsi(options)) ? 0 : 1;
  });

await program.parseAsync(process.argv);
