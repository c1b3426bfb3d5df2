import { Command } from 'commander';
import { configKeys, loadConfig } from '../../config.ts';
import { asProcess, type ProcessOptions, stopSignal } from '../process.ts';

type Options = ProcessOptions & { readonly endpoint?: string };

/** `analysis-operator callbacks replay`: sends the event of a task's end once more. */
export function callbacksCommand(done: (code: number) => void): Command {
  const replay = new Command('replay')
    .description('Send the event of a finished task once more, under the same id')
    .argument('<task>', 'namespace/name of the AnalysisTask')
    .option('--endpoint <name>', 'only to this endpoint; to all that the task names by default');
  asProcess(replay, configKeys).action(async (task: string, options: Options) =>
    done(await run(task, options)),
  );
  return new Command('callbacks').description('Events for callback endpoints').addCommand(replay);
}

async function run(task: string, { config: file, kubeconfig, context, endpoint }: Options): Promise<number> {
  const { callbacks: endpoints } = loadConfig(file, process.env);
  const [namespace, name, ...rest] = task.split('/');
  if (!namespace || !name || rest.length > 0)
    throw new Error(`the task is "${task}" but must be namespace/name`);
  const { readTask } = await import('../../programs/replay.ts');
  const signal = stopSignal();
  const found = await readTask({ namespace, name }, { kubeconfig, context, signal });
  const { replayEnd } = await import('../../callbacks/replay.ts');
  const failures = await replayEnd(found, {
    endpoints,
    endpoint,
    print: (line) => console.log(line),
    signal,
  });
  return failures === 0 ? 0 : 1;
}
