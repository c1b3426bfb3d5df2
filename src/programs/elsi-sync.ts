import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LABEL, ORIGIN_ELSI } from '../api/keys.ts';
import type { AnalysisTask } from '../api/objects.ts';
import { TASKS } from '../api/resources.ts';
import { parseTask } from '../api/seen.ts';
import { resourceClient } from '../controller/client.ts';
import { systemClock } from '../controller/clock.ts';
import { createInformer, type Informer } from '../controller/informer.ts';
import { loadClusterConfig } from '../controller/kube-config.ts';
import type { Leading } from '../controller/fence.ts';
import { createLog } from '../controller/log.ts';
import { createMetrics } from '../controller/metrics.ts';
import { createTransport } from '../controller/transport.ts';
import { createElsiClient } from '../elsi/client.ts';
import type { ElsiConfig } from '../elsi/config.ts';
import { createHttp } from '../elsi/http.ts';
import { checkRounds, type Rounds, runLoop } from '../elsi/loop.ts';
import { createSyncMetrics, type SyncMetrics } from '../elsi/metrics.ts';
import { createMissingBook } from '../elsi/missing.ts';
import { createRejectionBook } from '../elsi/rejections.ts';
import { type RoundDeps, syncRound } from '../elsi/round.ts';
import type { TaskObject } from '../elsi/run.ts';
import { type Credentials, createSession } from '../elsi/session.ts';
import { processIdentity, type Program, runProgram } from './program.ts';
import { version } from '../version.ts';

export interface ElsiArguments {
  readonly config: ElsiConfig;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly signal: AbortSignal;
}

interface Parts extends Program {
  readonly config: ElsiConfig;
  readonly runs: Informer<AnalysisTask>;
  readonly syncMetrics: SyncMetrics;
  readonly rounds: Rounds;
}

const USER_AGENT = `analysis-operator/${version} (elsi-sync)`;
/** Runs elsi-sync until the signal aborts. Returns the exit code, see `runProgram`. */
export async function runElsiProcess(given: ElsiArguments): Promise<number> {
  const parts = await assemble(given);
  return runProgram(parts, (leading, stop) => synchronise(parts, leading, stop), given.signal);
}

async function assemble({ config, kubeconfig, context }: ElsiArguments): Promise<Parts> {
  const log = createLog(config.log);
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
  const rounds: Rounds = { since: undefined };
  return {
    config,
    lease: config.leaderElection,
    health: config.health,
    // That ELSI is down makes no restart useful, so it shows in the metrics alone.
    livez: { rounds: () => checkRounds(rounds, systemClock.monotonicMs()) },
    told: { elsi: config.elsi.baseUrl, namespace: config.namespace },
    informers: [runs],
    connection,
    transport,
    runs,
    metrics,
    syncMetrics: createSyncMetrics(metrics.registry),
    rounds,
    identity: processIdentity(),
    log,
  };
}

async function synchronise(parts: Parts, leading: Leading, stop: AbortSignal): Promise<void> {
  const { config, syncMetrics, rounds, log } = parts;
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
  const deps = roundDeps(parts, leading, createElsiClient(http, session));
  const round = (signal: AbortSignal) => syncRound(deps, signal);
  const pacing = { intervalMs: config.intervalSeconds * 1000, clock: systemClock, random: Math.random };
  try {
    await runLoop({ round, rounds, ...pacing, metrics: syncMetrics, log }, stop);
  } finally {
    await http.close();
  }
}

function roundDeps(parts: Parts, { transport, isFresh }: Leading, elsi: RoundDeps['elsi']): RoundDeps {
  const { config, runs, syncMetrics: metrics, log } = parts;
  const { namespace, models, datasetPath, queue, priority, policies } = config;
  return {
    elsi,
    tasks: resourceClient<TaskObject>(transport, TASKS),
    runs: () => [...runs.values()],
    settings: { namespace, models, datasetPath, queue, priority },
    policies,
    missing: createMissingBook(),
    rejections: createRejectionBook(),
    mayAct: isFresh,
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
