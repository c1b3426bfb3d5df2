import { Command } from 'commander';
import { configKeys, loadConfig } from '../../config.ts';
import { asProcess, type ProcessOptions, stopSignal } from '../process.ts';

/** `analysis-operator controller`: reconciles AnalysisTasks until it is told to stop. */
export function controllerCommand(done: (code: number) => void): Command {
  const command = new Command('controller').description(
    'Turn AnalysisTasks into Jobs and follow them; runs until SIGTERM',
  );
  return asProcess(command, configKeys).action(async (options: ProcessOptions) => done(await run(options)));
}

async function run({ config: file, kubeconfig, context }: ProcessOptions): Promise<number> {
  const config = loadConfig(file, process.env);
  const { runControllerProcess } = await import('../../programs/controller.ts');
  return runControllerProcess({ config, kubeconfig, context, signal: stopSignal() });
}
