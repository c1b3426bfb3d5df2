import { z } from 'zod';
import { PRIORITIES } from '../api/task.ts';
import { leaderElectionSettings, logSettings } from '../config.ts';
import { loadSettings, type SettingKey, settingKeys } from '../lib/settings.ts';

/** Every key of elsi-sync's configuration file; docs, --help and the chart follow from it. */
export const elsiConfigSchema = z.strictObject({
  elsi: z.strictObject({
    baseUrl: z
      .url({ protocol: /^https?$/, error: 'must be an http(s) URL such as "https://elsi.example.org"' })
      .describe('address of ELSI, with or without a trailing /api'),
    credentialsDirectory: z
      .string()
      .min(1)
      .describe(
        'directory with the files client_id and client_secret, read anew for each login (a mounted Secret)',
      ),
    caFile: z
      .string()
      .optional()
      .describe('PEM of a private certificate authority that signed the certificate of ELSI'),
    timeoutSeconds: z.int().min(1).max(300).default(10).describe('for one request and its answer'),
    listTimeoutSeconds: z.int().min(1).max(600).default(60).describe('for the list of all tasks'),
    maxListMiB: z.int().min(1).max(1024).default(64).describe('largest list that is read, in MiB'),
  }),
  intervalSeconds: z.int().min(1).max(3600).default(10).describe('pause between two rounds'),
  namespace: z.string().min(1).describe('namespace in which the AnalysisTasks are created'),
  models: z
    .record(z.string().min(1).max(128), z.string().min(1).max(63))
    .refine((models) => Object.keys(models).length > 0, 'must map at least one model')
    .describe("ELSI's name of a model -> name of the AnalysisModel, such as {vtc: vtc-1-0}"),
  datasetPath: z
    .string()
    .min(1)
    .default('{uuid}')
    .describe(
      'path of a dataset below the store; {uuid} is the UUID at the end of its label, {label} the whole label',
    ),
  queue: z.string().optional().describe('Kueue LocalQueue of all tasks'),
  priority: z.enum(PRIORITIES).default('Normal').describe('priority of all tasks'),
  policies: z
    .strictObject({
      dropped: z
        .enum(['Ignore', 'Cancel'])
        .default('Ignore')
        .describe('when a task that runs is missing from three lists in a row'),
      changed: z
        .enum(['Ignore', 'Cancel'])
        .default('Ignore')
        .describe('when ELSI names another model or dataset, or an end, for a task that runs'),
      orphanedRunning: z
        .enum(['Adopt', 'Ignore', 'Fail'])
        .default('Ignore')
        .describe('when ELSI shows RUNNING and there is no run: the old daemon may still work on it'),
    })
    .prefault({}),
  leaderElection: leaderElectionSettings('analysis-operator-elsi').prefault({}),
  resyncSeconds: z
    .int()
    .min(10)
    .default(600)
    .describe('pause between two complete lists that repair lost watch events'),
  health: z
    .strictObject({
      port: z.int().min(0).max(65535).default(8082).describe('port of /livez, /readyz and /metrics'),
      host: z.string().default('0.0.0.0').describe('address of /livez, /readyz and /metrics'),
    })
    .prefault({}),
  log: logSettings,
});

export type ElsiConfig = z.output<typeof elsiConfigSchema>;

export const elsiConfigKeys = (): SettingKey[] => settingKeys(elsiConfigSchema);

/** Reads the configuration. Throws ConfigError with all problems. */
export function loadElsiConfig(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): ElsiConfig {
  return loadSettings(elsiConfigSchema, file, env);
}
