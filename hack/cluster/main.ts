import process from 'node:process';
import { Command } from 'commander';
import { join } from 'node:path';
import { nativeDown } from './native-down.ts';
import { nativeUp } from './native.ts';
import { chooseDriver, parseOptions } from './options.ts';
import { createProgress } from './progress.ts';

const progress = createProgress();
const program = new Command('cluster');
program.option('--driver <d>').option('--name <n>').option('--state <dir>').option('--context <c>').option('--gpus <n>').option('--kwok-nodes <n>').option('--kwok-gpus <n>');
program.command('up').action(async () => {
  const options = parseOptions(program.opts());
  await chooseDriver(options);
  await nativeUp({ ...options, dir: options.state }, progress);
  progress.say(`export KUBECONFIG=${join(options.state, 'kubeconfig')}`);
});
program.command('down').action(async () => nativeDown(parseOptions(program.opts()).state, progress));
await program.parseAsync(process.argv);
