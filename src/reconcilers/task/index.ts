import { randomUUID } from 'node:crypto';
import { CORE_EVENTS, JOBS, PODS, TASKS } from '../../api/resources.ts';
import { resourceClient } from '../../controller/client.ts';
import { systemClock } from '../../controller/clock.ts';
import { runController } from '../../controller/controller.ts';
import { createEventRecorder } from '../../controller/events.ts';
import type { Informer } from '../../controller/informer.ts';
import type { Log } from '../../controller/log.ts';
import type { Metrics } from '../../controller/metrics.ts';
import { KeyedQueue } from '../../controller/queue.ts';
import type { Transport } from '../../controller/transport.ts';
import { expireTasks } from './expire.ts';
import { allOf, cachesOf, connect, createTaskInformers } from './informers.ts';
import type { Observed } from './observed.ts';
import type { ModelEntry } from '../../api/seen.ts';
import { pollProgress } from './poller.ts';
import { createProgressBook } from './progress-book.ts';
import { reportFailure, taskReconciler } from './reconcile.ts';
import { createWrittenVersions } from './written.ts';

export interface TaskControllerOptions {
  readonly transport: Transport;
  readonly models: Informer<ModelEntry>;
  readonly namespaces: readonly string[];
  readonly concurrency: number;
  readonly relistMs: number;
  /** Undefined: pods are not asked how far they are. */
  readonly progressIntervalMs: number | undefined;
  readonly settings: Observed['defaults'];
  readonly policy: Observed['policy'];
  readonly instance: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface TaskController {
  readonly informers: readonly Informer<never>[];
  /** Works until `signal` aborts; call it only while leading. `isFresh` is asked right before a Job is created. */
  run(
    lead: { readonly isFresh: () => boolean; readonly lost: AbortSignal },
    signal: AbortSignal,
  ): Promise<void>;
}

/** Time between two looks at settled tasks for their ttl. */
const EXPIRY_MS = 60_000;

/** Wires the task reconciler: watches, queue, workers, progress and expiry. */
export function createTaskController(options: TaskControllerOptions): TaskController {
  const { transport, models, namespaces, log, metrics, settings, policy } = options;
  const queue = new KeyedQueue({ metrics: metrics.queue('analysistask') });
  const informers = createTaskInformers(
    { transport, relistMs: options.relistMs, log, metrics },
    namespaces,
    settings.claimName,
  );
  connect(informers, models, (key, priority) => queue.add(key, priority));
  const progress = createProgressBook(systemClock);
  const keysOf = (uid: string) => informers.tasks.flatMap((tasks) => tasks.byIndex('uid', uid));
  for (const tasks of informers.tasks)
    tasks.onChange((type, task) => type === 'deleted' && progress.forget(task.metadata.uid));
  const clients = {
    tasks: resourceClient(transport, TASKS),
    jobs: resourceClient(transport, JOBS),
    pods: resourceClient(transport, PODS),
    events: resourceClient(transport, CORE_EVENTS),
  };
  return {
    informers: allOf(informers),
    async run({ isFresh, lost }, signal) {
      const events = createEventRecorder({
        transport,
        controller: 'analysis.elsi.dev/task',
        instance: options.instance,
        log,
        metrics,
      });
      const deps = {
        caches: cachesOf(informers, models, settings.claimName),
        clients,
        progress,
        now: () => systemClock.now(),
        mayStart: isFresh,
        settings: { identity: randomUUID(), defaults: settings, policy },
        events,
        written: createWrittenVersions(),
      };
      const changed = (uid: string) => {
        for (const { metadata } of keysOf(uid)) queue.add(`${metadata.namespace}/${metadata.name}`);
      };
      const pods = () => informers.pods.flatMap((informer) => [...informer.values()]);
      await Promise.all([
        runController(
          {
            name: 'analysistask',
            queue,
            workers: options.concurrency,
            reconcile: taskReconciler(deps),
            report: reportFailure(deps),
            fence: lost,
            log,
            metrics,
          },
          signal,
        ),
        options.progressIntervalMs === undefined
          ? undefined
          : pollProgress(
              {
                pods,
                book: progress,
                changed,
                intervalMs: options.progressIntervalMs,
                clock: systemClock,
                log,
              },
              signal,
            ),
        expireTasks(
          {
            tasks: clients.tasks,
            namespaces: namespaces.length > 0 ? namespaces : [undefined],
            intervalMs: EXPIRY_MS,
            clock: systemClock,
            log,
          },
          signal,
        ),
      ]);
      await events.stop(2000);
    },
  };
}
