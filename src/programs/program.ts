import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { resourceClient } from '../controller/client.ts';
import { fenced, type Leading } from '../controller/fence.ts';
import { type HealthChecks, type HealthServer, startHealthServer } from '../controller/health.ts';
import { type Informer, waitForSync } from '../controller/informer.ts';
import type { ClusterConnection } from '../controller/kube-config.ts';
import { acquireLeadership, type Leadership, type Lease } from '../controller/leader.ts';
import type { Log } from '../controller/log.ts';
import type { Metrics } from '../controller/metrics.ts';
import { type KubeObject, LEASES } from '../controller/resources.ts';
import type { Transport } from '../controller/transport.ts';
import type { Config } from '../config.ts';
import { version } from '../version.ts';

/** Of a process without leader election: it always leads. */
const ALONE: Leadership = {
  lost: new AbortController().signal,
  isFresh: () => true,
  release: () => Promise.resolve(),
};

export interface Candidate {
  readonly lease: Config['leaderElection'];
  readonly connection: ClusterConnection;
  readonly transport: Transport;
  readonly identity: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Waits for the lease, if one is configured. */
async function leadershipOf(candidate: Candidate, signal: AbortSignal): Promise<Leadership> {
  const { lease, connection, transport, identity, log, metrics } = candidate;
  if (!lease.enabled) return ALONE;
  return acquireLeadership(
    {
      client: resourceClient<Lease>(transport, LEASES, { pool: 'lease' }),
      namespace: lease.namespace ?? process.env['POD_NAMESPACE'] ?? connection.namespace,
      name: lease.name,
      identity,
      leaseDurationMs: lease.leaseDurationSeconds * 1000,
      renewDeadlineMs: lease.renewDeadlineSeconds * 1000,
      retryPeriodMs: lease.retryPeriodSeconds * 1000,
      log,
      metrics,
    },
    signal,
  );
}

type Work = (leading: Leading, stop: AbortSignal) => Promise<void>;

/** Returns false when the lease was lost. However the work ends, nothing of it goes on, and a lease that is held is given back. */
async function leadUntilStopped(candidate: Candidate, work: Work, signal: AbortSignal): Promise<boolean> {
  const leadership = await leadershipOf(candidate, signal);
  const failed = new AbortController();
  const { isFresh, lost } = leadership;
  const leading = { isFresh, lost, transport: fenced(candidate.transport, isFresh) };
  try {
    await work(leading, AbortSignal.any([signal, lost, failed.signal]));
  } finally {
    failed.abort(new Error('another part of the process failed'));
    if (!lost.aborted) await leadership.release();
  }
  if (lost.aborted) candidate.log.error('Leadership lost; exiting', { why: String(lost.reason) });
  else candidate.log.info('Stopped');
  return !lost.aborted;
}

/** What a process that watches, leads and works is made of. */
export interface Program extends Candidate {
  readonly informers: readonly Pick<Informer<KubeObject>, 'run' | 'synced' | 'hasSynced'>[];
  readonly health: { readonly host: string; readonly port: number };
  /** What beside a silent API server means that a restart would help. */
  readonly livez?: HealthChecks;
  /** What the log tells at the start. */
  readonly told: Readonly<Record<string, unknown>>;
}

/**
 * Serves health, watches, waits for the lease and works until the signal aborts. Returns the exit code: 0 after a clean
 * stop, 1 when the lease was lost, because another process may lead by now.
 */
export async function runProgram(program: Program, work: Work, signal: AbortSignal): Promise<number> {
  const { informers, transport, identity, log, told } = program;
  const health = await serveHealth(program);
  const watching = new AbortController();
  const watches = informers.map((informer) => informer.run(watching.signal));
  log.info('Started', { version, identity, ...told });
  try {
    await waitForSync(informers, signal);
    return (await leadUntilStopped(program, work, signal)) ? 0 : 1;
  } catch (error) {
    if (signal.aborted) return 0; // stopped before it ever led
    throw error;
  } finally {
    watching.abort(new Error('stopping'));
    await Promise.all(watches);
    await health.close();
    await transport.close();
    await log.flush();
  }
}

const SILENT_MS = 600_000;

/** Ready means: the caches are complete. A follower is ready too; it can take over at once. */
function serveHealth({ informers, health, livez = {}, transport, metrics }: Program): Promise<HealthServer> {
  const hasSynced = () => informers.every((informer) => informer.hasSynced());
  const synced = () => {
    if (!hasSynced()) throw new Error('the caches are not complete yet');
  };
  const contact = () => {
    const silentMs = performance.now() - transport.lastContactMs();
    if (hasSynced() && silentMs > SILENT_MS)
      throw new Error(`no answer from the API server for ${Math.round(silentMs / 1000)} s`);
  };
  const { registry } = metrics;
  return startHealthServer({ ...health, readyz: { synced }, livez: { contact, ...livez }, registry });
}

/** Tells this process from its predecessor in the same pod too. */
export const processIdentity = (): string =>
  `${process.env['POD_NAME'] ?? hostname()}_${randomUUID().slice(0, 8)}`;
