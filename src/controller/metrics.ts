import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { GaugeConfiguration } from 'prom-client';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What a queue tells; all series are bound once, so a call costs no label lookup. */
export interface QueueMetrics {
  depth(keys: number): void;
  added(): void;
  retried(): void;
  /** Seconds a key waited before a worker took it. */
  waited(seconds: number): void;
  /** Seconds a worker held a key. */
  worked(seconds: number): void;
  /** Asked at scrape time: seconds held so far by the keys in work. */
  watch(inWork: () => Iterable<number>): void;
}

const RECONCILE_RESULTS = ['success', 'error', 'requeue', 'requeue_after'] as const;
export type ReconcileResult = (typeof RECONCILE_RESULTS)[number];

/** The runtime's series under controller-runtime's and client-go's names. Labels come from closed sets only. */
export interface Metrics {
  readonly registry: Registry;
  queue(name: string): QueueMetrics;
  reconciled(controller: string, result: ReconcileResult, seconds: number): void;
  request(method: string, code: string, host: string): void;
  leader(lease: string, isLeader: boolean): void;
  /** Differences a relist found that the watch should have told. */
  relistMisses(resource: string, count: number): void;
  /** An object that could not be read and was left out. */
  poisonObject(resource: string): void;
  watchEnded(resource: string, why: string): void;
  eventDropped(why: string): void;
}

const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60];
const WAIT_SECONDS = [0.001, 0.01, 0.1, 1, 10, 60, 600];

/** Creates all series in one registry of their own. */
export function createMetrics(registry: Registry = new Registry()): Metrics {
  const registers = [registry];
  const reconciles = new Counter({
    name: 'controller_runtime_reconcile_total',
    help: 'Reconciliations per controller and result.',
    labelNames: ['controller', 'result'],
    registers,
  });
  const reconcileTime = new Histogram({
    name: 'controller_runtime_reconcile_time_seconds',
    help: 'Length of one reconciliation.',
    labelNames: ['controller'],
    buckets: SECONDS,
    registers,
  });
  const requests = new Counter({
    name: 'rest_client_requests_total',
    help: 'Requests to the API server by status code, method and host; code is <error> when there was no answer.',
    labelNames: ['code', 'method', 'host'],
    registers,
  });
  const leader = new Gauge({
    name: 'leader_election_master_status',
    help: '1 while this process holds the lease.',
    labelNames: ['name'],
    registers,
  });
  const informer = informerSeries(registers);
  const dropped = new Counter({
    name: 'event_recorder_dropped_total',
    help: 'Kubernetes Events not written.',
    labelNames: ['reason'],
    registers,
  });
  eventLoopDelay(registers);
  return {
    registry,
    queue: queueSeries(registers),
    reconciled(controller, result, seconds) {
      reconciles.inc({ controller, result });
      reconcileTime.observe({ controller }, seconds);
    },
    request: (method, code, host) => requests.inc({ code, method, host }),
    leader: (name, isLeader) => leader.set({ name }, isLeader ? 1 : 0),
    ...informer,
    eventDropped: (reason) => dropped.inc({ reason }),
  };
}

function informerSeries(
  registers: Registry[],
): Pick<Metrics, 'relistMisses' | 'poisonObject' | 'watchEnded'> {
  const misses = new Counter({
    name: 'informer_relist_misses_total',
    help: 'Objects whose cached state a periodic list found wrong: events that the watch never delivered.',
    labelNames: ['resource'],
    registers,
  });
  const poison = new Counter({
    name: 'informer_poison_objects_total',
    help: 'Objects left out because they could not be read.',
    labelNames: ['resource'],
    registers,
  });
  const ended = new Counter({
    name: 'informer_watches_ended_total',
    help: 'Watches that ended, by cause.',
    labelNames: ['resource', 'why'],
    registers,
  });
  return {
    relistMisses: (resource, count) => misses.inc({ resource }, count),
    poisonObject: (resource) => poison.inc({ resource }),
    watchEnded: (resource, why) => ended.inc({ resource, why }),
  };
}

function queueSeries(registers: Registry[]): (name: string) => QueueMetrics {
  const labelNames = ['name'];
  const depth = new Gauge({
    name: 'workqueue_depth',
    help: 'Keys waiting for a worker.',
    labelNames,
    registers,
  });
  const adds = new Counter({ name: 'workqueue_adds_total', help: 'Keys added.', labelNames, registers });
  const retries = new Counter({
    name: 'workqueue_retries_total',
    help: 'Keys added again after a failure.',
    labelNames,
    registers,
  });
  const waits = new Histogram({
    name: 'workqueue_queue_duration_seconds',
    help: 'Time a key waited for a worker.',
    labelNames,
    buckets: WAIT_SECONDS,
    registers,
  });
  const works = new Histogram({
    name: 'workqueue_work_duration_seconds',
    help: 'Time a worker held a key.',
    labelNames,
    buckets: SECONDS,
    registers,
  });
  const watchWork = inWorkSeries(registers);
  return (name) => {
    const [bound, added, retried] = [depth.labels({ name }), adds.labels({ name }), retries.labels({ name })];
    const [waited, worked] = [waits.labels({ name }), works.labels({ name })];
    return {
      depth: (keys) => bound.set(keys),
      added: () => added.inc(),
      retried: () => retried.inc(),
      waited: (seconds) => waited.observe(seconds),
      worked: (seconds) => worked.observe(seconds),
      watch: (inWork) => watchWork(name, inWork),
    };
  };
}

function inWorkSeries(registers: Registry[]): (name: string, inWork: () => Iterable<number>) => void {
  const sources = new Map<string, () => Iterable<number>>();
  const collectInto = (
    series: { set(labels: { name: string }, value: number): void },
    fold: (all: number[]) => number,
  ): void => {
    for (const [name, inWork] of sources) series.set({ name }, fold([...inWork()]));
  };
  gauge({
    name: 'workqueue_unfinished_work_seconds',
    help: 'Sum of the time that keys in work have been held so far.',
    labelNames: ['name'],
    registers,
    collect() {
      collectInto(this, (all) => all.reduce((sum, seconds) => sum + seconds, 0));
    },
  });
  gauge({
    name: 'workqueue_longest_running_processor_seconds',
    help: 'How long the oldest key in work has been held.',
    labelNames: ['name'],
    registers,
    collect() {
      collectInto(this, (all) => all.reduce((longest, seconds) => Math.max(longest, seconds), 0));
    },
  });
  return (name, inWork) => void sources.set(name, inWork);
}

/** Its value is asked for at scrape time, so nobody needs to hold it. */
function gauge(configuration: GaugeConfiguration<string>): Gauge {
  return new Gauge(configuration);
}

function eventLoopDelay(registers: Registry[]): void {
  const histogram = monitorEventLoopDelay({ resolution: 10 });
  histogram.enable();
  gauge({
    name: 'nodejs_eventloop_delay_seconds',
    help: 'Event loop delay since the last scrape.',
    labelNames: ['quantile'],
    registers,
    collect() {
      this.set({ quantile: '0.5' }, histogram.percentile(50) / 1e9);
      this.set({ quantile: '0.99' }, histogram.percentile(99) / 1e9);
      this.set({ quantile: '1' }, histogram.max / 1e9);
      histogram.reset();
    },
  });
}
