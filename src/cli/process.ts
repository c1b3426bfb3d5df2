import type { Command } from 'commander';
import type { SettingKey } from '../lib/settings.ts';

/** Longest clean stop; less than the grace period of the chart's Deployments. */
const STOP_MS = 25_000;

export interface ProcessOptions {
  readonly config?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** The options of a command that runs until it is told to stop, and a help that names every key of its file. */
export function asProcess(command: Command, keys: () => readonly SettingKey[]): Command {
  return command
    .option('--config <file>', 'configuration file (YAML)', process.env['ANALYSIS_CONFIG'])
    .option('--kubeconfig <file>', 'kubeconfig; by default the service account of the pod, then KUBECONFIG')
    .option('--context <name>', 'context of the kubeconfig')
    .addHelpText('after', () => keysHelp(keys()));
}

function keysHelp(keys: readonly SettingKey[]): string {
  const rows = keys.map(({ path, env, schema }) => {
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

/** Aborts on SIGTERM and SIGINT, and ends the process when it hangs after that. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  const onSignal = (name: string): void => {
    stop.abort(new Error(name));
    // Every write is safe to lose; a pod that hangs until SIGKILL only delays the next leader.
    setTimeout(() => process.exit(1), STOP_MS).unref();
  };
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, onSignal);
  return stop.signal;
}
