import { z } from 'zod';
import { callbackSettings } from './callbacks/config.ts';
import { LONGEST_LEASE_MS } from './controller/leader.ts';
import { loadSettings, type SettingKey, settingKeys } from './lib/settings.ts';

const seconds = (): z.ZodInt => z.int().min(1);

/** Longer promises in a Lease are taken for garbage. */
const LONGEST_LEASE_SECONDS = LONGEST_LEASE_MS / 1000;

/** The lease that keeps two replicas of one process from working at once. */
export const leaderElectionSettings = (leaseName: string) =>
  z
    .strictObject({
      enabled: z.boolean().default(true).describe('needed as soon as there are two replicas'),
      namespace: z.string().optional().describe("namespace of the Lease; the pod's own by default"),
      name: z.string().default(leaseName).describe('name of the Lease'),
      leaseDurationSeconds: seconds()
        .max(LONGEST_LEASE_SECONDS)
        .default(15)
        .describe('how long others wait before they take over'),
      renewDeadlineSeconds: seconds()
        .default(10)
        .describe('how long the leader tries to renew before it gives up'),
      retryPeriodSeconds: seconds()
        .default(2)
        .describe('pause between two renewals; a waiting replica asks twice as often'),
    })
    .superRefine((lease, context) => {
      if (lease.leaseDurationSeconds <= lease.renewDeadlineSeconds) {
        const message = `must be greater than renewDeadlineSeconds (${lease.renewDeadlineSeconds}), or two replicas could lead at once`;
        context.addIssue({ code: 'custom', path: ['leaseDurationSeconds'], message });
      }
      if (lease.renewDeadlineSeconds <= lease.retryPeriodSeconds) {
        const message = `must be greater than retryPeriodSeconds (${lease.retryPeriodSeconds}), or the lease is lost before it is renewed`;
        context.addIssue({ code: 'custom', path: ['renewDeadlineSeconds'], message });
      }
    });

export const logSettings = z
  .strictObject({
    level: z.enum(['error', 'warn', 'info', 'debug']).default('info').describe('least level that is logged'),
    format: z.enum(['json', 'text']).optional().describe('json, unless the output is a terminal'),
  })
  .prefault({});

/** Every key of the configuration file; docs, --help and the chart follow from it. */
export const configSchema = z
  .strictObject({
    store: z.strictObject({
      claimName: z
        .string()
        .min(1)
        .describe('PersistentVolumeClaim with the datasets; it must exist in every namespace that has tasks'),
    }),
    identity: z
      .strictObject({
        runAsUser: z.int().min(1).default(1000).describe('uid of every container of a task'),
        runAsGroup: z
          .int()
          .min(1)
          .default(1000)
          .describe('gid of every container of a task, and of published files'),
      })
      .prefault({}),
    agent: z.strictObject({
      image: z
        .string()
        .min(1)
        .describe("image of the prepare, observe and publish containers: the operator's own"),
    }),
    allowTags: z
      .boolean()
      .default(false)
      .describe('accept models whose image is named by a tag instead of a digest'),
    imagePullPolicy: z
      .enum(['Always', 'IfNotPresent', 'Never'])
      .default('IfNotPresent')
      .describe('for all containers of tasks'),
    namespaces: z.array(z.string().min(1)).default([]).describe('namespaces to watch; empty means all'),
    concurrency: z.int().min(1).max(512).default(16).describe('tasks that are reconciled at the same time'),
    pendingDeadlineSeconds: seconds()
      .default(86400)
      .describe('how long a task may wait when no model says otherwise'),
    maxDisruptions: z
      .int()
      .min(0)
      .default(10)
      .describe('attempts that may be lost to disruptions before a task fails'),
    nodeLost: z
      .strictObject({
        afterSeconds: seconds()
          .default(60)
          .describe('how long a deleted pod may outlive its grace before its node counts as lost'),
        forceDeleteAfterSeconds: seconds()
          .optional()
          .describe(
            'how long after that its pod is removed without the word of the node and another attempt follows; never by default',
          ),
      })
      .prefault({}),
    leaderElection: leaderElectionSettings('analysis-operator').prefault({}),
    progress: z
      .strictObject({
        enabled: z
          .boolean()
          .default(true)
          .describe('ask running pods how far they are, over the pod network'),
        intervalSeconds: seconds().default(5).describe('pause between two questions to the same pod'),
      })
      .prefault({}),
    storeAgent: z
      .strictObject({
        urlTemplate: z
          .string()
          .default('')
          .describe(
            'URL of the store agent of a namespace, such as http://store-agent.{namespace}.svc:9809; empty: none is asked',
          ),
        tokenFile: z
          .string()
          .default('')
          .describe('file with the secret that both sides share; read again for every question'),
        timeoutSeconds: seconds()
          .default(20)
          .describe('how long a task waits for an answer before it starts without one'),
        sweepIntervalSeconds: z
          .int()
          .min(0)
          .default(3600)
          .describe('pause between two sweeps of staging that no task needs; 0 means none'),
        settledStagingSeconds: z
          .int()
          .min(600)
          .default(3600)
          .describe('how long staging of a settled task must have been idle before it is removed'),
        unknownStagingSeconds: z
          .int()
          .min(0)
          .default(604_800)
          .describe(
            'the same for deleted or foreign tasks; 0 keeps it, as clusters that share a volume need',
          ),
      })
      .prefault({}),
    callbacks: callbackSettings,
    resyncSeconds: z
      .int()
      .min(10)
      .default(600)
      .describe('pause between two complete lists that repair lost watch events'),
    expirySeconds: seconds()
      .default(60)
      .describe('pause between two looks at settled tasks whose ttlSecondsAfterSettled may be over'),
    watchIdleSeconds: z
      .int()
      .min(10)
      .default(150)
      .describe(
        'a watch without a byte for this long counts as dead and is opened anew; the API server sends a bookmark about every 60 s, so less than 90 only reopens quiet watches',
      ),
    health: z
      .strictObject({
        port: z.int().min(0).max(65535).default(8081).describe('port of /livez, /readyz and /metrics'),
        host: z.string().default('0.0.0.0').describe('address of /livez, /readyz and /metrics'),
      })
      .prefault({}),
    log: logSettings,
    priorityClasses: z
      .strictObject({
        Low: z
          .string()
          .default('')
          .describe('PriorityClass of tasks with priority Low; empty leaves the default'),
        Normal: z.string().default('').describe('PriorityClass of tasks with priority Normal'),
        High: z.string().default('').describe('PriorityClass of tasks with priority High'),
      })
      .prefault({}),
  })
  .superRefine(({ storeAgent }, context) => {
    for (const [key, message] of storeAgentProblems(storeAgent))
      context.addIssue({ code: 'custom', path: ['storeAgent', key], message });
  });

/** A URL without a secret is a slip. */
function storeAgentProblems({
  urlTemplate,
  tokenFile,
}: {
  readonly urlTemplate: string;
  readonly tokenFile: string;
}): [key: string, message: string][] {
  if (urlTemplate === '') return [];
  const problems: [string, string][] = [];
  const url = URL.parse(urlTemplate.replaceAll('{namespace}', 'namespace'));
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    problems.push([
      'urlTemplate',
      `"${urlTemplate}" is no http or https URL, such as http://store-agent.{namespace}.svc:9809`,
    ]);
  if (tokenFile === '')
    problems.push(['tokenFile', 'is needed with urlTemplate: name the mounted file with the shared secret']);
  return problems;
}

export type Config = z.output<typeof configSchema>;

export const configKeys = (): SettingKey[] => settingKeys(configSchema);

/** Reads the controller's configuration. Throws ConfigError with all problems. */
export function loadConfig(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Config {
  return loadSettings(configSchema, file, env);
}
