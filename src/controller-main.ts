import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { MODELS } from './api/resources.ts';
import { type ModelEntry, parseModel } from './api/seen.ts';
import { deliverCallbacks } from './callbacks/deliver.ts';
import { createCallbackMetrics } from './callbacks/metrics.ts';
import type { Config } from './config.ts';
import { systemClock } from './controller/clock.ts';
import { startHealthServer } from './controller/health.ts';
import { createInformer, type Informer, waitForSync } from './controller/informer.ts';
import { type ClusterConnection, loadClusterConfig } from './controller/kube-config.ts';
import type { Leadership } from './controller/leader.ts';
import { createLog, type Log } from './controller/log.ts';
import { createMetrics, type Metrics } from './controller/metrics.ts';
import { createTransport, type Transport } from './controller/transport.ts';
import { leadUntilStopped } from './leading.ts';
import { createModelController } from './reconcilers/model/index.ts';
import {
  createTaskController,
  type TaskController,
  type TaskControllerOptions,
} from './reconcilers/task/index.ts';
import { version } from './version.ts';

export interface ControllerArguments {
  readonly config: Config;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly signal: AbortSignal;
}

/** Everything the controller process is made of. */
interface Parts {
  readonly config: Config;
  readonly connection: ClusterConnection;
  readonly transport: Transport;
  readonly models: Informer<ModelEntry>;
  readonly tasks: TaskController;
  readonly runModels: (leading: Leadership, signal: AbortSignal) => Promise<void>;
  readonly identity: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Runs the controller until the signal aborts. Returns the exit code: 0 after a clean stop,
 * 1 when the lease was lost, because another process may lead by now.
 */
export async function runControllerProcess(given: ControllerArguments): Promise<number> {
  const log = createLog({
    level: given.config.log.level,
    ...(given.config.log.format ? { format: given.config.log.format } : {}),
  });
  const parts = await assemble(given, log);
  const ready = { synced: false };
  const health = await serveHealth(parts, ready);
  const watching = new AbortController();
  const informers = [parts.models, ...parts.tasks.informers];
  const watches = informers.map((informer) => informer.run(watching.signal));
  log.info('Started', {
    version,
    identity: parts.identity,
    server: parts.connection.server,
    namespaces: given.config.namespaces,
  });
  try {
    await waitForSync(informers, given.signal);
    ready.synced = true;
    const candidate = { ...parts, lease: given.config.leaderElection };
    return await leadUntilStopped(
      candidate,
      (leadership, stop) => work(parts, leadership, stop),
      given.signal,
    );
  } catch (error) {
    if (given.signal.aborted) return 0; // stopped before it ever led
    throw error;
  } finally {
    watching.abort(new Error('stopping'));
    await Promise.all(watches);
    await health.close();
    await parts.transport.close();
    await log.flush();
  }
}

async function assemble({ config, kubeconfig, context }: ControllerArguments, log: Log): Promise<Parts> {
  const metrics = createMetrics();
  const connection = await loadClusterConfig({ kubeconfig, context });
  const transport = createTransport(connection, {
    log,
    metrics,
    watchIdleMs: config.watchIdleSeconds * 1000,
    userAgent: `analysis-operator/${version}`,
  });
  const identity = `${process.env['POD_NAME'] ?? hostname()}_${randomUUID().slice(0, 8)}`;
  const relistMs = config.resyncSeconds * 1000;
  const models = createInformer<ModelEntry>({
    transport,
    type: MODELS,
    transform: parseModel,
    relistMs,
    log,
    metrics,
  });
  const policy = {
    allowTags: config.allowTags,
    pendingDeadlineSeconds: config.pendingDeadlineSeconds,
    maxDisruptions: config.maxDisruptions,
    nodeLost: config.nodeLost,
    callbacks: config.callbacks,
  };
  const tasks = createTaskController({
    transport,
    models,
    namespaces: config.namespaces,
    concurrency: config.concurrency,
    relistMs,
    expiryMs: config.expirySeconds * 1000,
    progressIntervalMs: config.progress.enabled ? config.progress.intervalSeconds * 1000 : undefined,
    storeAgents: storeAgents(config),
    settings: jobDefaults(config),
    policy,
    deliver: delivererOf(config, { metrics, log }),
    instance: identity,
    log,
    metrics,
  });
  const runModels = createModelController({ transport, models, policy, log, metrics });
  return { config, connection, transport, models, tasks, runModels, identity, log, metrics };
}

function delivererOf(
  { callbacks: endpoints }: Config,
  { metrics, log }: Pick<Parts, 'metrics' | 'log'>,
): TaskControllerOptions['deliver'] {
  if (Object.keys(endpoints).length === 0) return undefined;
  const callbackMetrics = createCallbackMetrics(metrics.registry);
  return (outboxes, signal) =>
    deliverCallbacks(
      { ...outboxes, endpoints, clock: systemClock, random: Math.random, metrics: callbackMetrics, log },
      signal,
    );
}

async function work({ tasks, runModels }: Parts, leadership: Leadership, stop: AbortSignal): Promise<void> {
  await Promise.all([tasks.run(leadership, stop), runModels(leadership, stop)]);
}

function jobDefaults({ agent, imagePullPolicy, store, identity, priorityClasses }: Config) {
  return {
    agentImage: agent.image,
    imagePullPolicy,
    claimName: store.claimName,
    ...identity,
    priorityClasses,
    operatorVersion: version,
  };
}

function storeAgents({ storeAgent: agent }: Config) {
  if (agent.urlTemplate === '') return undefined;
  const { urlTemplate, tokenFile, timeoutSeconds, sweepIntervalSeconds } = agent;
  return {
    urlTemplate,
    tokenFile,
    timeoutMs: timeoutSeconds * 1000,
    sweep: { settledSeconds: agent.settledStagingSeconds, unknownSeconds: agent.unknownStagingSeconds },
    sweepIntervalMs: sweepIntervalSeconds > 0 ? sweepIntervalSeconds * 1000 : undefined,
  };
}

/** Ready means: the caches are complete. A follower is ready too; it can take over at once. */
function serveHealth({ config, metrics, transport }: Parts, ready: { synced: boolean }) {
  const synced = () => {
    if (!ready.synced) throw new Error('the caches are not complete yet');
  };
  const contact = () => {
    const silentMs = performance.now() - transport.lastContactMs();
    if (ready.synced && silentMs > 600_000)
      throw new Error(`no answer from the API server for ${Math.round(silentMs / 1000)} s`);
  };
  return startHealthServer({
    ...config.health,
    readyz: { synced },
    livez: { contact },
    registry: metrics.registry,
  });
}
