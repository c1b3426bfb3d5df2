import { Pool } from 'undici';
import type { Credentials } from './kube-config.ts';

/** `request` for everything, `lease` for leader election alone, `watch` with one connection per watch. */
const POOL_NAMES = ['request', 'lease', 'watch'] as const;
export type PoolName = (typeof POOL_NAMES)[number];

export type PoolSet = Readonly<Record<PoolName, Pool>>;

export interface PoolLimits {
  /** Connections of the `request` pool. */
  readonly connections: number;
  /** Largest answer in bytes, watches excepted. */
  readonly maxResponseBytes: number;
  /** A watch without a byte for this long is dead: bookmarks come about every minute. */
  readonly watchIdleMs: number;
}

const CALL_MS = 30_000;
const LEASE_MS = 5_000;

/** HTTP/1.1 on purpose: a GOAWAY of a rolling API server has lost requests on HTTP/2. */
export function openPools(origin: string, credentials: Credentials, limits: PoolLimits): PoolSet {
  const connect = {
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    timeout: LEASE_MS,
    ...(credentials.ca ? { ca: credentials.ca } : {}),
    ...(credentials.cert ? { cert: credentials.cert } : {}),
    ...(credentials.key ? { key: credentials.key } : {}),
    ...(credentials.servername ? { servername: credentials.servername } : {}),
    ...(credentials.insecure ? { rejectUnauthorized: false } : {}),
  };
  const common = {
    connect,
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: 20_000,
    keepAliveMaxTimeout: 60_000,
  };
  const maxResponseSize = limits.maxResponseBytes;
  return {
    request: new Pool(origin, {
      ...common,
      connections: limits.connections,
      headersTimeout: CALL_MS,
      bodyTimeout: CALL_MS,
      maxResponseSize,
    }),
    lease: new Pool(origin, {
      ...common,
      connections: 2,
      headersTimeout: LEASE_MS,
      bodyTimeout: LEASE_MS,
      maxResponseSize,
    }),
    watch: new Pool(origin, {
      ...common,
      connections: null,
      headersTimeout: CALL_MS,
      bodyTimeout: limits.watchIdleMs,
    }),
  };
}

/** Lets calls in flight finish on the old pools for a while, then cuts them. */
export async function retirePools(pools: PoolSet, graceMs = CALL_MS): Promise<void> {
  const all = POOL_NAMES.map((name) => pools[name]);
  const timer = setTimeout(() => void Promise.allSettled(all.map((pool) => pool.destroy())), graceMs);
  timer.unref();
  await Promise.allSettled(all.map((pool) => pool.close()));
  clearTimeout(timer);
}

/** Changes when any TLS file changes; the token is sent per request and does not count. */
export function tlsFingerprint({
  ca = '',
  cert = '',
  key = '',
  servername = '',
  insecure = false,
}: Credentials): string {
  return [ca, cert, key, servername, String(insecure)].join('\n');
}
