import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { z } from 'zod';
import { succeeds } from './exec.ts';
import { requireRoot } from './prerequisites.ts';
import { DEFAULT_NAME } from './settings.ts';

/** The ways to a cluster. */
export const DRIVERS = ['native', 'kind', 'current'] as const;
export type Driver = (typeof DRIVERS)[number];

const Count = z.coerce.number().int().min(0);
const Options = z.object({
  driver: z.enum(DRIVERS).optional(),
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,39}$/, 'a name is a DNS label of at most 40 characters')
    .default(DEFAULT_NAME),
  state: z.string().optional(),
  context: z.string().optional(),
  gpus: Count.default(4),
  kwokNodes: Count.default(0),
  kwokGpus: Count.default(8),
  audit: z.union([z.boolean(), z.stringbool()]).default(false),
});

/** What the command line and the environment ask for. */
export type Options = Omit<z.output<typeof Options>, 'state'> & { readonly state: string };

type Env = Readonly<Record<string, string | undefined>>;

/** Option name -> environment variable that stands in for it. */
export const ENVIRONMENT = {
  driver: 'ANALYSIS_CLUSTER_DRIVER',
  name: 'ANALYSIS_CLUSTER_NAME',
  state: 'ANALYSIS_CLUSTER_STATE',
  context: 'ANALYSIS_CLUSTER_CONTEXT',
  gpus: 'ANALYSIS_CLUSTER_GPUS',
  kwokNodes: 'ANALYSIS_CLUSTER_KWOK_NODES',
  kwokGpus: 'ANALYSIS_CLUSTER_KWOK_GPUS',
  audit: 'ANALYSIS_CLUSTER_AUDIT',
} as const satisfies Record<keyof Options, string>;

/** Reads the options: flags win over the environment, the environment over the defaults. Names every problem. */
export function parseOptions(flags: Readonly<Record<string, unknown>>, env: Env = process.env): Options {
  const fromEnv = Object.fromEntries(
    Object.entries(ENVIRONMENT).flatMap(([key, variable]) => {
      const value = env[variable];
      return value === undefined || value === '' ? [] : [[key, value]];
    }),
  );
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  const parsed = Options.safeParse({ ...fromEnv, ...given });
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`the options are wrong: ${problems.join('; ')}`);
  }
  return { ...parsed.data, state: resolve(parsed.data.state ?? defaultState(parsed.data.name, env)) };
}

// Root keeps a cluster where services do, everybody else in the folder for a user's state.
function defaultState(name: string, env: Env): string {
  if (process.getuid?.() === 0) return `/var/lib/${name}-cluster`;
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state'), `${name}-cluster`);
}

/** The driver that was asked for, else kind where Docker answers, else native (which needs root). */
export async function chooseDriver(options: Options): Promise<Driver> {
  if (options.driver !== undefined) return options.driver;
  if (await succeeds('docker', ['info'], { timeoutMs: 10_000 })) return 'kind';
  requireRoot();
  return 'native';
}
