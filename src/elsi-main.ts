import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { LABEL, ORIGIN_ELSI } from './api/keys.ts';
import type { AnalysisTask } from './api/objects.ts';
import { TASKS } from './api/resources.ts';
import { parseTask } from './api/seen.ts';
import { resourceClient } from './controller/client.ts';
import { systemClock } from './controller/clock.ts';
import { startHealthServer } from './controller/health.ts';
import { createInformer, type Informer, waitForSync } from './controller/informer.ts';
import { type ClusterConnection, loadClusterConfig } from './controller/kube-config.ts';
import type { Leadership } from './controller/leader.ts';
import { createLog, type Log } from './controller/log.ts';
import { createMetrics, type Metrics } from './controller/metrics.ts';
import { createTransport, type Transport } from './controller/transport.ts';
import { createElsiClient } from './elsi/client.ts';
import type { ElsiConfig } from './elsi/config.ts';
import { createHttp } from './elsi/http.ts';
import { runLoop } from './elsi/loop.ts';
import { createSyncMetrics, type SyncMetrics } from './elsi/metrics.ts';
import { createMissingBook } from './elsi/missing.ts';
import { createRejectionBook } from './elsi/rejections.ts';
import { type RoundDeps, syncRound } from './elsi/round.ts';
import type { TaskObject } from './elsi/run.ts';
import { type Credentials, createSession } from './elsi/session.ts';
import { leadUntilStopped } from './leading.ts';
import { version } from './version.ts';

export interface ElsiArguments {
  readonly config: ElsiConfig;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly signal: AbortSignal;
}

interface Parts {
  readonly config: ElsiConfig;
  readonly connection: ClusterConnection;
  readonly transport: Transport;
  readonly runs: Informer<AnalysisTask>;
  readonly metrics: Metrics;
  readonly syncMetrics: SyncMetrics;
  readonly identity: string;
  readonly log: Log;
  /** Monotonic ms of the end of the last round, good or bad. */
  lastRoundMs: number;
}

const USER_AGENT = `analysis-operator/${version} (elsi-sync)`;
/** A loop that has not ended a round for this long hangs, whatever ELSI does. */
const HANGING_MS = 900_000;

/** Runs elsi-sync until the signal aborts. Returns the exit code: 0 after a clean stop, 1 when the lease was lost. */
export async function runElsiProcess(given: ElsiArguments): Promise<number> {
  const { config, signal } = given;
  const log = createLog({
    level: config.log.level,
    ...(config.log.format ? { format: config.log.format } : {}),
  });
  const parts = await assemble(given, log);
  const health = await serveHealth(parts);
  const watching = new AbortController();
  const watch = parts.runs.run(watching.signal);
  log.info('Started', {
    version,
    identity: parts.identity,
    elsi: config.elsi.baseUrl,
    namespace: config.namespace,
  });
  try {
    await waitForSync([parts.runs], signal);
    const candidate = { ...parts, lease: config.leaderElection };
    return await leadUntilStopped(
      candidate,
      (leadership, stop) => synchronise(parts, leadership, stop),
      signal,
    );
  } catch (error) {
    if (signal.aborted) return 0; // stopped before it ever led
    throw error;
  } finally {
    watching.abort(new Error('stopping'));
    await watch;
    await health.close();
    await parts.transport.close();
    await log.flush();
  }
}

async function assemble({ config, kubeconfig, context }: ElsiArguments, log: Log): Promise<Parts> {
  const metrics = createMetrics();
  const connection = await loadClusterConfig({ kubeconfig, context });
  const transport = createTransport(connection, { log, metrics, userAgent: USER_AGENT });
  const runs = createInformer<AnalysisTask>({
    transport,
    type: TASKS,
    namespace: config.namespace,
    labelSelector: `${LABEL.origin}=${ORIGIN_ELSI}`,
    transform: parseTask,
    relistMs: config.resyncSeconds * 1000,
    log,
    metrics,
  });
  return {
    config,
    connection,
    transport,
    runs,
    metrics,
    syncMetrics: createSyncMetrics(metrics.registry),
    identity: `${process.env['POD_NAME'] ?? hostname()}_${randomUUID().slice(0, 8)}`,
    log,
    lastRoundMs: performance.now(),
  };
}

/** Ready means: the runs are known. That ELSI is down makes no restart useful, so it shows in the metrics alone. */
function serveHealth(parts: Parts) {
  const synced = () => {
    if (!parts.runs.hasSynced()) throw new Error('the AnalysisTasks are not read yet');
  };
  const rounds = () => {
    const silentMs = performance.now() - parts.lastRoundMs;
    if (silentMs > HANGING_MS + parts.config.intervalSeconds * 2000)
      throw new Error(`no round has ended for ${Math.round(silentMs / 1000)} s`);
  };
  const { registry } = parts.metrics;
  return startHealthServer({ ...parts.config.health, readyz: { synced }, livez: { rounds }, registry });
}

async function synchronise(parts: Parts, leadership: Leadership, stop: AbortSignal): Promise<void> {
  const { config, syncMetrics, log } = parts;
  const { elsi } = config;
  const http = createHttp({
    baseUrl: elsi.baseUrl,
    timeoutMs: elsi.timeoutSeconds * 1000,
    listTimeoutMs: elsi.listTimeoutSeconds * 1000,
    maxListBytes: elsi.maxListMiB * 1024 * 1024,
    ca: elsi.caFile === undefined ? undefined : await readFile(elsi.caFile, 'utf8'),
    userAgent: USER_AGENT,
    onAnswer: (method, code) => syncMetrics.answered(method, code),
  });
  const session = createSession(http.exchange, credentialsIn(elsi.credentialsDirectory), systemClock);
  const deps = roundDeps(parts, leadership, createElsiClient(http, session));
  // Whoever waits for the lease is alive too.
  parts.lastRoundMs = performance.now();
  const onRound = (): void => {
    parts.lastRoundMs = performance.now();
  };
  const round = (signal: AbortSignal) => syncRound(deps, signal);
  const pacing = { intervalMs: config.intervalSeconds * 1000, clock: systemClock, random: Math.random };
  await runLoop({ round, ...pacing, metrics: syncMetrics, log, onRound }, stop);
  await http.close();
}

function roundDeps(parts: Parts, leadership: Leadership, elsi: RoundDeps['elsi']): RoundDeps {
  const { config, transport, runs, syncMetrics: metrics, log } = parts;
  const { namespace, models, datasetPath, queue, priority, policies } = config;
  return {
    elsi,
    tasks: resourceClient<TaskObject>(transport, TASKS),
    runs: () => [...runs.values()],
    settings: { namespace, models, datasetPath, queue, priority },
    policies,
    missing: createMissingBook(),
    rejections: createRejectionBook(),
    mayAct: () => leadership.isFresh(),
    now: () => systemClock.now(),
    metrics,
    log,
  };
}

function credentialsIn(directory: string): Credentials {
  const read = async (name: string): Promise<string> => {
    const text = (await readFile(join(directory, name), 'utf8')).trim();
    if (text === '') throw new Error(`the file ${name} of elsi.credentialsDirectory is empty`);
    return text;
  };
  return async () => ({ clientId: await read('client_id'), clientSecret: await read('client_secret') });
}
