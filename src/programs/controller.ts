import { MODELS, NODES } from '../api/resources.ts';
import { type ModelEntry, parseModel } from '../api/seen.ts';
import { deliverCallbacks } from '../callbacks/deliver.ts';
import { createCallbackMetrics } from '../callbacks/metrics.ts';
import type { Config } from '../config.ts';
import { resourceClient } from '../controller/client.ts';
import { systemClock } from '../controller/clock.ts';
import { createInformer } from '../controller/informer.ts';
import { loadClusterConfig } from '../controller/kube-config.ts';
import type { Leading } from '../controller/fence.ts';
import { createLog } from '../controller/log.ts';
import { createMetrics } from '../controller/metrics.ts';
import { createTransport } from '../controller/transport.ts';
import { processIdentity, type Program, runProgram } from './program.ts';
import { createModelController } from '../reconcilers/model/index.ts';
import { createHardware } from '../reconcilers/rates/hardware.ts';
import { createRateBook } from '../reconcilers/rates/rate-book.ts';
import {
  createTaskController,
  type TaskController,
  type TaskControllerOptions,
} from '../reconcilers/task/index.ts';
import { version } from '../version.ts';

export interface ControllerArguments {
  readonly config: Config;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly signal: AbortSignal;
}

/** Everything the controller process is made of. */
interface Parts extends Program {
  readonly tasks: TaskController;
  readonly runModels: (leading: Leading, signal: AbortSignal) => Promise<void>;
}

/** Runs the controller until the signal aborts. Returns the exit code, see `runProgram`. */
export async function runControllerProcess(given: ControllerArguments): Promise<number> {
  const parts = await assemble(given);
  const { tasks, runModels } = parts;
  const work = async (leading: Leading, stop: AbortSignal): Promise<void> => {
    await Promise.all([tasks.run(leading, stop), runModels(leading, stop)]);
  };
  return runProgram(parts, work, given.signal);
}

async function assemble({ config, kubeconfig, context }: ControllerArguments): Promise<Parts> {
  const log = createLog(config.log);
  const metrics = createMetrics();
  const connection = await loadClusterConfig({ kubeconfig, context });
  const transport = createTransport(connection, {
    log,
    metrics,
    watchIdleMs: config.watchIdleSeconds * 1000,
    userAgent: `analysis-operator/${version}`,
  });
  const identity = processIdentity();
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
  const learning = learningOf({ transport, log });
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
    deliver: delivererOf(config, { transport, metrics, log }),
    instance: identity,
    ...learning,
    log,
    metrics,
  });
  const runModels = createModelController({ models, policy, ...learning, log, metrics });
  return {
    lease: config.leaderElection,
    health: config.health,
    told: { server: connection.server, namespaces: config.namespaces },
    informers: [models, ...tasks.informers],
    connection,
    transport,
    tasks,
    runModels,
    identity,
    log,
    metrics,
  };
}

/** How fast models are: the tasks' controller measures it, the models' writes it down. */
function learningOf({ transport, log }: Pick<Parts, 'transport' | 'log'>) {
  const nodes = resourceClient(transport, NODES);
  return { rates: createRateBook(), hardware: createHardware({ nodes, clock: systemClock, log }) };
}

function delivererOf(
  { callbacks: endpoints }: Config,
  { transport, metrics, log }: Pick<Parts, 'transport' | 'metrics' | 'log'>,
): TaskControllerOptions['deliver'] {
  if (Object.keys(endpoints).length === 0) return undefined;
  const callbackMetrics = createCallbackMetrics(metrics.registry);
  // The times of the outbox are the API server's: how old an event is follows from the same clock.
  const clock = { ...systemClock, now: () => transport.now() };
  return (outboxes, signal) =>
    deliverCallbacks(
      { ...outboxes, endpoints, clock, random: Math.random, metrics: callbackMetrics, log },
      signal,
    );
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
