#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { version } from './version.ts';

/** Exit code of a usage error, as getopt programs have it. */
const USAGE = 2;
/** Exit code of a process that ended on SIGTERM, as shells report it. */
const TERMINATED = 143;

type Done = (code: number) => void;

/** Loaded one at a time: every task starts three agents, and none of them needs the controller's libraries. */
const COMMANDS: Readonly<Record<string, (done: Done) => Promise<Command>>> = {
  controller: async (done) => (await import('./cli/commands/controller.ts')).controllerCommand(done),
  'elsi-sync': async (done) => (await import('./cli/commands/elsi-sync.ts')).elsiSyncCommand(done),
  callbacks: async (done) => (await import('./cli/commands/callbacks.ts')).callbacksCommand(done),
  agent: async (done) => (await import('./cli/commands/agent.ts')).agentCommand(done),
  verify: async (done) => (await import('./cli/commands/verify.ts')).verifyCommand(done),
};

async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  const done: Done = (result) => {
    code = result;
  };
  const program = new Command('analysis-operator')
    .description('Runs models over datasets on Kubernetes and reports the truth about how each run ended.')
    .version(version)
    .showHelpAfterError('(add --help for all options)')
    .exitOverride();
  program
    .command('version')
    .description('Print the version')
    .action(() => console.log(version));
  const wanted =
    argv[2] !== undefined && Object.hasOwn(COMMANDS, argv[2]) ? [argv[2]] : Object.keys(COMMANDS);
  for (const name of wanted) {
    const command = await COMMANDS[name]?.(done);
    if (command) program.addCommand(command.exitOverride());
  }
  try {
    await program.parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    console.error(error instanceof Error && error.name === 'ConfigError' ? error.message : error);
    return 1;
  }
  return code;
}

// The kernel ignores SIGTERM for a container's first process until it has a handler, and loading a command takes a moment.
process.once('SIGTERM', () => {
  if (process.listenerCount('SIGTERM') === 0) process.exit(TERMINATED);
});

process.exitCode = await main(process.argv);
