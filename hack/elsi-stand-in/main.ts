import { readFileSync } from 'node:fs';
import process from 'node:process';
import { Command } from 'commander';
import { startStandIn } from './server.ts';

interface Options {
  readonly port: number;
  readonly host: string;
  readonly file?: string;
  readonly clientId: string;
  readonly secretFile: string;
  readonly tokenSeconds: number;
}

const program = new Command('elsi-stand-in')
  .description(
    'Stands in for ELSI in demo and tests: the recorded contract under /api, and controls under /stand-in/ (GET audit; GET, POST, PATCH tasks; POST, DELETE faults; DELETE tokens). It is no ELSI: it has no users, no credits and no access rights.',
  )
  .option('--port <n>', 'port', Number, 8090)
  .option('--host <address>', 'address', '127.0.0.1')
  .option('--file <path>', 'keeps tasks and log over restarts')
  .option('--client-id <id>', 'client id that may log in', 'analysis-operator')
  .requiredOption('--secret-file <path>', 'file with the client secret')
  .option('--token-seconds <n>', 'lifetime of a token', Number, 3600)
  .action(async ({ secretFile, ...options }: Options) => {
    const standIn = await startStandIn({ ...options, clientSecret: readFileSync(secretFile, 'utf8').trim() });
    console.log(`a stand-in for ELSI listens on ${standIn.url}, with ${standIn.tasks.size} tasks`);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void standIn.close());
  });

await program.parseAsync(process.argv);
