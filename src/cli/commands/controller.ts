import { Command } from 'commander';
import { configKeys, loadConfig } from '../../config.ts';

/** Longest clean stop; less than the grace period of the chart's Deployment. */
const STOP_MS = 25_000;

interface Options {
  readonly config?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** `analysis-operator controller`: reconciles AnalysisTasks until it is told to stop. */
export function controllerCommand(done: (code: number) => void): Command {
  return new Command('controller')
    .description('Turn AnalysisTasks into Jobs and follow them; runs until SIGTERM')
    .option('--config <file>', 'configuration file (YAML)', process.env['ANALYSIS_CONFIG'])
    .option('--kubeconfig <file>', 'kubeconfig; by default the service account of the pod, then KUBECONFIG')
    .option('--context <name>', 'context of the kubeconfig')
    .addHelpText('after', keysHelp)
    .action(async (options: Options) => done(await run(options)));
}

function keysHelp(): string {
  const rows = configKeys().map(({ path, env, schema }) => {
    const { success, data } = schema.safeParse(undefined);
    const fallback = success && data !== undefined ? ` [${JSON.stringify(data)}]` : '';
    return `  ${path.join('.')}${fallback}\n      ${schema.description ?? ''}; ${env}`;
  });
  return [
    '',
    'Keys of the configuration file [default], and the variable that overrides each:',
    ...rows,
  ].join('\n');
}

async function run({ config: file, kubeconfig, context }: Options): Promise<number> {
  const config = loadConfig(file, process.env);
  const { runControllerProcess } = await import('../../controller-main.ts');
  const stop = new AbortController();
  const onSignal = (name: string): void => {
    stop.abort(new Error(name));
    // Every write is safe to lose; a pod that hangs until SIGKILL only delays the next leader.
    setTimeout(() => process.exit(1), STOP_MS).unref();
  };
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, onSignal);
  return runControllerProcess({ config, kubeconfig, context, signal: stop.signal });
}
