import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';

/** TLS material and token as of now. PEM text throughout. */
export interface Credentials {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** TLS server name when it differs from the URL's host. */
  readonly servername?: string;
  /** True only where a kubeconfig says `insecure-skip-tls-verify`. */
  readonly insecure?: boolean;
  readonly token?: string;
}

/** How to reach one cluster as one identity. */
export interface ClusterConnection {
  /** Origin (and path prefix, if any) of the API server. */
  readonly server: string;
  /** The namespace of the pod or of the kubeconfig context. */
  readonly namespace: string;
  /** Cached for a minute; `fresh` reads again, e.g. after a 401. */
  credentials(options?: { readonly fresh?: boolean }): Promise<Credentials>;
}

export interface ClusterConfigOptions {
  /** Path of a kubeconfig. @default in-cluster if there is a service account, else KUBECONFIG or ~/.kube/config */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly env?: NodeJS.ProcessEnv;
  readonly clock?: Clock;
  /** @default /var/run/secrets/kubernetes.io/serviceaccount */
  readonly serviceAccountDir?: string;
}

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';
const CREDENTIALS_MS = 60_000;

/** Finds the cluster the way kubectl does, in-cluster first; the error says what was looked for. */
export async function loadClusterConfig({
  kubeconfig,
  context,
  env = process.env,
  clock = systemClock,
  serviceAccountDir = SERVICE_ACCOUNT_DIR,
}: ClusterConfigOptions = {}): Promise<ClusterConnection> {
  const inCluster =
    env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(join(serviceAccountDir, 'token'));
  const explicit = kubeconfig !== undefined || context !== undefined || env['KUBECONFIG'] !== undefined;
  return inCluster && !explicit
    ? loadInCluster(env, serviceAccountDir, clock)
    : loadKubeconfig({ kubeconfig, context }, clock);
}

async function loadInCluster(env: NodeJS.ProcessEnv, dir: string, clock: Clock): Promise<ClusterConnection> {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const read = async (): Promise<Credentials> => {
    const [token, ca] = await Promise.all([
      readFile(join(dir, 'token'), 'utf8'),
      readFile(join(dir, 'ca.crt'), 'utf8'),
    ]);
    return { token: token.trim(), ca };
  };
  const namespace = await readFile(join(dir, 'namespace'), 'utf8').catch(() => 'default');
  const credentials = remembered(read, clock);
  await credentials();
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace: namespace.trim(),
    credentials,
  };
}

interface KubeconfigChoice {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

async function loadKubeconfig(choice: KubeconfigChoice, clock: Clock): Promise<ClusterConnection> {
  const first = await parseKubeconfig(choice);
  let parsed = first;
  // The parsed file keeps its plugins' tokens until they expire; only a refused one makes it worth reading again.
  const credentials = remembered(async (fresh) => {
    if (fresh) parsed = await parseKubeconfig(choice);
    return credentialsOf(parsed);
  }, clock);
  await credentials();
  return { server: first.server, namespace: first.namespace, credentials };
}

interface ParsedKubeconfig {
  readonly server: string;
  readonly namespace: string;
  readonly config: HttpsOptionsSource;
  /** Read anew for each credentials: such files are rotated. */
  readonly tokenFile: string | undefined;
}

interface HttpsOptions {
  ca?: unknown;
  cert?: unknown;
  key?: unknown;
  servername?: unknown;
  rejectUnauthorized?: boolean;
  auth?: unknown;
  headers?: Record<string, string>;
}

interface HttpsOptionsSource {
  applyToHTTPSOptions(options: HttpsOptions): Promise<void>;
}

/** Loads client-node only here: it costs 300 ms and 80 MB that a pod never needs. */
async function parseKubeconfig({ kubeconfig, context }: KubeconfigChoice): Promise<ParsedKubeconfig> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  if (kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(kubeconfig);
  if (context !== undefined) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  const found = config.getContextObject(config.getCurrentContext());
  if (!cluster || !found) throw new Error(missingContext(config.getCurrentContext(), config.getContexts()));
  if (cluster.proxyUrl) {
    throw new Error(
      `kubeconfig cluster "${cluster.name}": proxy-url is not supported; reach the API server directly or through a tunnel`,
    );
  }
  return {
    server: cluster.server,
    namespace: found.namespace ?? 'default',
    config: config as unknown as HttpsOptionsSource,
    tokenFile: await tokenFileOf(kubeconfig, found.user),
  };
}

const users = z.object({
  users: z
    .array(z.object({ name: z.string(), user: z.object({ tokenFile: z.string().optional() }).nullish() }))
    .nullish(),
});

/** client-node does not know `tokenFile`, so such a user would be anonymous without a word. The first file that names the user wins. */
async function tokenFileOf(kubeconfig: string | undefined, user: string): Promise<string | undefined> {
  const standard = process.env['KUBECONFIG']?.split(delimiter) ?? [join(homedir(), '.kube', 'config')];
  for (const file of kubeconfig === undefined ? standard : [kubeconfig]) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const found = users.safeParse(parse(text)).data?.users?.find(({ name }) => name === user);
    if (found) return found.user?.tokenFile && resolve(dirname(file), found.user.tokenFile);
  }
  return undefined;
}

function missingContext(wanted: string, contexts: readonly { readonly name: string }[]): string {
  const known = contexts.map(({ name }) => name).join(', ') || 'none';
  return `kubeconfig context "${wanted}" does not exist or names no cluster; contexts found: ${known}. Set --context or KUBECONFIG`;
}

async function credentialsOf({ config, tokenFile }: ParsedKubeconfig): Promise<Credentials> {
  const options: HttpsOptions = {};
  await config.applyToHTTPSOptions(options);
  const authorization = tokenFile
    ? `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`
    : (options.headers?.['Authorization'] ?? '');
  const [ca, cert, key] = [textOf(options.ca), textOf(options.cert), textOf(options.key)];
  return {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(typeof options.servername === 'string' ? { servername: options.servername } : {}),
    ...(options.rejectUnauthorized === false ? { insecure: true } : {}),
    ...(authorization.startsWith('Bearer ') ? { token: authorization.slice('Bearer '.length) } : {}),
  };
}

const textOf = (value: unknown): string =>
  Buffer.isBuffer(value) ? value.toString('utf8') : typeof value === 'string' ? value : '';

/** Reads again each minute and on demand, one read at a time; a failing re-read keeps what worked last. */
function remembered(
  read: (fresh: boolean) => Promise<Credentials>,
  clock: Clock,
): ClusterConnection['credentials'] {
  let current: Credentials | undefined;
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<Credentials> | undefined;

  const refresh = async (fresh: boolean): Promise<Credentials> => {
    try {
      current = await read(fresh);
    } catch (error) {
      if (!current) throw error;
    } finally {
      reading = undefined;
      readAtMs = clock.monotonicMs();
    }
    return current;
  };
  return async ({ fresh = false } = {}) => {
    const isRecent = clock.monotonicMs() - readAtMs < CREDENTIALS_MS;
    if (current && isRecent && !fresh) return current;
    reading ??= refresh(fresh);
    return reading;
  };
}
