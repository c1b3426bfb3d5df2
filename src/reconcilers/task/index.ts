import { randomUUID } from 'node:crypto';
import type { Ended, Outboxes } from '../../api/callbacks.ts';
import { CORE_EVENTS, JOBS, PODS, TASKS } from '../../api/resources.ts';
import { resourceClient } from '../../controller/client.ts';
import { systemClock } from '../../controller/clock.ts';
import { runController } from '../../controller/controller.ts';
import type { Leading } from '../../controller/fence.ts';
import { createEventRecorder, type EventRecorder } from '../../controller/events.ts';
import type { Informer } from '../../controller/informer.ts';
import type { Log } from '../../controller/log.ts';
import type { Metrics } from '../../controller/metrics.ts';
import { keyOf } from '../../controller/resources.ts';
import { KeyedQueue } from '../../controller/queue.ts';
import type { Transport } from '../../controller/transport.ts';
import { type ExpiryDeps, expireTasks } from './expire.ts';
import {
  allOf,
  cachesOf,
  connect,
  createTaskInformers,
  keysOf,
  type RunningInformer,
  scopesOf,
  type TaskInformers,
  withOutbox,
} from './informers.ts';
import type { Hardware } from '../rates/hardware.ts';
import type { RateBook } from '../rates/rate-book.ts';
import type { Observed } from './observed.ts';
import type { ModelEntry } from '../../api/seen.ts';
import { pollProgress } from './progress/poller.ts';
import { createProgressBook, type ProgressBook } from './progress/book.ts';
import { reportFailure, taskReconciler, type TaskReconcilerDeps } from './reconcile.ts';
import { startStoreAgents, type StoreAgents, type StoreAgentsOptions } from './store/agents.ts';
import { createWrittenVersions } from '../../controller/written.ts';

export interface TaskControllerOptions {
  readonly transport: Transport;
  readonly models: Informer<ModelEntry>;
  readonly namespaces: readonly string[];
  readonly concurrency: number;
  readonly relistMs: number;
  /** Time between two looks at settled tasks for their ttl. */
  readonly expiryMs: number;
  /** Undefined: pods are not asked how far they are. */
  readonly progressIntervalMs: number | undefined;
  /** Undefined: no store agent is asked. */
  readonly storeAgents: StoreAgentsOptions | undefined;
  readonly settings: Observed['defaults'];
  readonly policy: Observed['policy'];
  /** Delivers the events of tasks to callback endpoints until the signal aborts; undefined where there are none. */
  readonly deliver: ((outboxes: Outboxes, signal: AbortSignal) => Promise<void>) | undefined;
  /** Takes what attempts took. */
  readonly rates: Pick<RateBook, 'note'>;
  readonly hardware: Pick<Hardware, 'peek'>;
  readonly instance: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface TaskController {
  readonly informers: readonly RunningInformer[];
  /** Works until `signal` aborts; call it only while leading. */
  run(leading: Leading, signal: AbortSignal): Promise<void>;
}

/** Wires the task reconciler: watches, queue, workers, progress and expiry. */
export function createTaskController(options: TaskControllerOptions): TaskController {
  const { transport, models, log, metrics, settings } = options;
  const queue = new KeyedQueue({ metrics: metrics.queue('analysistask') });
  const base = { transport, relistMs: options.relistMs, log, metrics };
  const informers = createTaskInformers(base, options.namespaces, settings.claimName);
  const book = createProgressBook(systemClock);
  connect(informers, models, (key, priority) => queue.add(key, priority));
  for (const tasks of informers.tasks) {
    tasks.onChange((type, task) => type === 'deleted' && book.forget(task.metadata.uid));
  }
  return {
    informers: allOf(informers),
    run: (leading, signal) => work({ options, queue, informers, book, ended: new Map() }, leading, signal),
  };
}

interface Wired {
  readonly options: TaskControllerOptions;
  readonly queue: KeyedQueue;
  readonly informers: TaskInformers;
  readonly book: ProgressBook;
  /** Events that ended; the deliverer writes, the planner reads. */
  readonly ended: Map<string, Ended>;
}

async function work(given: Wired, { isFresh, lost, transport }: Leading, signal: AbortSignal): Promise<void> {
  const wired: Wired = { ...given, options: { ...given.options, transport } };
  const { instance, concurrency, log, metrics } = wired.options;
  const events = createEventRecorder({
    transport,
    controller: 'analysis.elsi.dev/task',
    instance,
    log,
    metrics,
  });
  const agents = storeAgents(wired, signal);
  const deps = dependencies(wired, { isFresh, events, agents });
  const reconciling = runController(
    {
      name: 'analysistask',
      queue: wired.queue,
      workers: concurrency,
      reconcile: taskReconciler(deps),
      report: reportFailure(deps),
      fence: lost,
      log,
      metrics,
    },
    signal,
  );
  await Promise.all([
    reconciling,
    polling(wired, isFresh, signal),
    delivering(wired, { isFresh, events }, signal),
    expiring(wired, deps.clients.tasks, signal),
    agents?.run(),
  ]);
  await events.stop(2000);
}

/** What exists while this process leads. */
interface Running {
  readonly isFresh: () => boolean;
  readonly events: EventRecorder;
  readonly agents: StoreAgents | undefined;
}

function dependencies(
  { options, informers, book, ended }: Wired,
  { isFresh, events, agents }: Running,
): TaskReconcilerDeps {
  const { transport, models, settings, policy } = options;
  return {
    caches: cachesOf(informers, models, settings.claimName),
    clients: {
      tasks: resourceClient(transport, TASKS),
      jobs: resourceClient(transport, JOBS),
      pods: resourceClient(transport, PODS),
      events: resourceClient(transport, CORE_EVENTS),
    },
    progress: book,
    hardware: options.hardware,
    rates: options.rates,
    store: agents?.book,
    callbacks: ended,
    now: () => transport.now(),
    mayStart: isFresh,
    settings: { identity: randomUUID(), defaults: settings, policy },
    events,
    written: createWrittenVersions(),
  };
}

function storeAgents({ options, queue, informers }: Wired, signal: AbortSignal): StoreAgents | undefined {
  if (!options.storeAgents) return undefined;
  const tasks = resourceClient(options.transport, TASKS);
  return startStoreAgents(
    {
      options: options.storeAgents,
      informers,
      tasks,
      watched: scopesOf(options.namespaces),
      enqueue: (key) => queue.add(key),
      log: options.log,
    },
    signal,
  );
}

async function polling(
  { options, queue, informers, book }: Wired,
  isFresh: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  const { progressIntervalMs: intervalMs, log } = options;
  if (intervalMs === undefined) return;
  const changed = (uid: string): void => keysOf(informers, uid).forEach((key) => queue.add(key));
  const pods = () => informers.pods.flatMap((informer) => [...informer.values()]);
  await pollProgress({ pods, book, changed, intervalMs, isFresh, clock: systemClock, log }, signal);
}

async function delivering(
  { options, queue, informers, ended }: Wired,
  { isFresh, events }: { readonly isFresh: () => boolean; readonly events: EventRecorder },
  signal: AbortSignal,
): Promise<void> {
  const tasks = () => withOutbox(informers);
  const changed: Outboxes['changed'] = (task, { type, endpoint }, how) => {
    queue.add(keyOf(task));
    if (how === 'delivered') return;
    const note = `The event ${type} was given up: endpoint ${endpoint} did not take it`;
    events.record(task, { type: 'Warning', reason: 'CallbackGivenUp', action: 'Deliver', note });
  };
  await options.deliver?.({ tasks, ended, changed, mayAct: isFresh }, signal);
}

function expiring({ options }: Wired, tasks: ExpiryDeps['tasks'], signal: AbortSignal): Promise<void> {
  const { transport, log } = options;
  const clock = { ...systemClock, now: () => transport.now() };
  return expireTasks(
    { tasks, namespaces: scopesOf(options.namespaces), intervalMs: options.expiryMs, clock, log },
    signal,
  );
}
