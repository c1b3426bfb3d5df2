import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { LONGEST_LEASE_MS } from './controller/leader.ts';

const seconds = (): z.ZodInt => z.int().min(1);

/** Longer promises in a Lease are taken for garbage. */
const LONGEST_LEASE_SECONDS = LONGEST_LEASE_MS / 1000;

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
    leaderElection: z
      .strictObject({
        enabled: z.boolean().default(true).describe('needed as soon as there are two replicas'),
        namespace: z.string().optional().describe("namespace of the Lease; the pod's own by default"),
        name: z.string().default('analysis-operator').describe('name of the Lease'),
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
      .prefault({}),
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
    log: z
      .strictObject({
        level: z
          .enum(['error', 'warn', 'info', 'debug'])
          .default('info')
          .describe('least level that is logged'),
        format: z.enum(['json', 'text']).optional().describe('json, unless the output is a terminal'),
      })
      .prefault({}),
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
  .superRefine(({ leaderElection: lease, storeAgent }, context) => {
    for (const [key, message] of storeAgentProblems(storeAgent))
      context.addIssue({ code: 'custom', path: ['storeAgent', key], message });
    if (lease.leaseDurationSeconds <= lease.renewDeadlineSeconds) {
      const message = `must be greater than renewDeadlineSeconds (${lease.renewDeadlineSeconds}), or two replicas could lead at once`;
      context.addIssue({ code: 'custom', path: ['leaderElection', 'leaseDurationSeconds'], message });
    }
    if (lease.renewDeadlineSeconds <= lease.retryPeriodSeconds) {
      const message = `must be greater than retryPeriodSeconds (${lease.retryPeriodSeconds}), or the lease is lost before it is renewed`;
      context.addIssue({ code: 'custom', path: ['leaderElection', 'renewDeadlineSeconds'], message });
    }
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

/** Everything that is wrong with the configuration, one problem per line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** One leaf of the configuration, for --help and for environment overrides. */
export interface ConfigKey {
  readonly path: readonly string[];
  readonly env: string;
  readonly schema: z.ZodType;
}

export function configKeys(): ConfigKey[] {
  return leaves(configSchema, []);
}

function leaves(schema: z.ZodType, path: readonly string[]): ConfigKey[] {
  const inner = schema instanceof z.ZodPrefault ? schema.def.innerType : schema;
  if (inner instanceof z.ZodObject) {
    return Object.entries<z.ZodType>(inner.shape).flatMap(([key, value]) => leaves(value, [...path, key]));
  }
  return [{ path, env: envName(path), schema }];
}

/** store.claimName -> ANALYSIS_STORE_CLAIM_NAME */
function envName(path: readonly string[]): string {
  const words = path.map((part) => part.replaceAll(/([a-z])([A-Z])/g, '$1_$2').toUpperCase());
  return ['ANALYSIS', ...words].join('_');
}

/** Reads the file, lays the environment over it and checks the result. Throws ConfigError with all problems. */
export function loadConfig(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Config {
  const raw = file === undefined ? {} : readYaml(file);
  for (const { path, env: name } of configKeys()) {
    const value = env[name];
    if (value !== undefined) setAt(raw, path, parse(value));
  }
  const result = configSchema.safeParse(raw);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `  ${issue.path.join('.') || '(file)'}: ${issue.message}`);
  throw new ConfigError(
    `The configuration${file ? ` in ${file}` : ''} has ${lines.length} problem(s):\n${lines.join('\n')}`,
  );
}

function readYaml(file: string): Record<string, unknown> {
  try {
    const content: unknown = parse(readFileSync(file, 'utf8')) ?? {};
    if (isRecord(content)) return content;
    throw new Error('it must be a mapping of keys to values');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`Cannot read the configuration file ${file}: ${why}`, { cause: error });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function setAt(target: Record<string, unknown>, [head, ...rest]: readonly string[], value: unknown): void {
  if (head === undefined) return;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  const child = target[head];
  const next = isRecord(child) ? child : {};
  target[head] = next;
  setAt(next, rest, value);
}
