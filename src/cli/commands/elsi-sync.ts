import { Command } from 'commander';
import { elsiConfigKeys, loadElsiConfig } from '../../elsi/config.ts';
import { asProcess, type ProcessOptions, stopSignal } from '../process.ts';

/** `analysis-operator elsi-sync`: takes tasks over from ELSI and reports how they end until it is told to stop. */
export function elsiSyncCommand(done: (code: number) => void): Command {
  const command = new Command('elsi-sync').description(
    'Create AnalysisTasks for the tasks of ELSI and report their ends; runs until SIGTERM',
  );
  return asProcess(command, elsiConfigKeys).action(async (options: ProcessOptions) =>
    done(await run(options)),
  );
}

async function run({ config: file, kubeconfig, context }: ProcessOptions): Promise<number> {
  const config = loadElsiConfig(file, process.env);
  const { runElsiProcess } = await import('../../programs/elsi-sync.ts');
  return runElsiProcess({ config, kubeconfig, context, signal: stopSignal() });
}
