import { resourceClient } from './controller/client.ts';
import type { ClusterConnection } from './controller/kube-config.ts';
import { acquireLeadership, type Leadership, type Lease } from './controller/leader.ts';
import type { Log } from './controller/log.ts';
import type { Metrics } from './controller/metrics.ts';
import { LEASES } from './controller/resources.ts';
import type { Transport } from './controller/transport.ts';
import type { Config } from './config.ts';

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

/**
 * Works while leading. Returns the exit code: 0 after a clean stop, 1 when the lease was lost, because another process
 * may lead by now.
 */
export async function leadUntilStopped(
  candidate: Candidate,
  work: (leadership: Leadership, stop: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<number> {
  const leadership = await leadershipOf(candidate, signal);
  await work(leadership, AbortSignal.any([signal, leadership.lost]));
  if (leadership.lost.aborted) {
    candidate.log.error('Leadership lost; exiting', { why: String(leadership.lost.reason) });
    return 1;
  }
  await leadership.release();
  candidate.log.info('Stopped');
  return 0;
}
