/**
 * Native sidecar: tells progress on the pod network and records finished units where the model cannot write, so that a
 * further attempt may reuse them. For a worker it also is the queue. A hint for people, never a verdict: an error here is logged and the next look goes on.
 *
 * The loop works through the plan in order, so one marker at a time is looked for: an idle look costs one `open`,
 * however many units there are.
 */
import type { Server, ServerResponse } from 'node:http';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentRequest, ProgressReport } from '../api/request.ts';
import { WORKER } from '../api/worker.ts';
import type { AgentOptions } from './context.ts';
import { AgentFailure, shown } from './failure.ts';
import { inspectOutput } from './inspect.ts';
import { insidePod, readUntrusted, statUntrusted } from './paths.ts';
import type { Unit } from './plan.ts';
import { outOf } from './places.ts';
import { openPlan } from './plan-file.ts';
import type { Plan } from './plan-file.ts';
import { Progress } from './progress.ts';
import { type RedisServer, serveRedis } from './redis-server.ts';
import { appendRecords, recordsOf } from './records.ts';
import type { OutputRecord, UnitRecord } from './records.ts';
import { UnitQueue } from './unit-queue.ts';
import { WorkerDesk } from './worker-desk.ts';

// An import of node:http makes Node load its fetch as well, which every step of every task would pay for.
const { createServer } = process.getBuiltinModule('node:http');

/** Units recorded, or outputs looked for, in one look. */
const PER_LOOK = 256;

interface Watch {
  readonly request: AgentRequest;
  readonly staging: ReturnType<typeof insidePod>;
  readonly progress: Progress;
  /** Seconds since the start. */
  readonly elapsed: () => number;
  /** Ids of the units that are recorded already. */
  readonly recorded: Set<string>;
  readonly queue: UnitQueue;
  /** per: Dataset: units without their outputs, and how far the last look came among them. */
  pending: readonly Unit[];
  cursor: number;
}

/** Serves until the signal is aborted. Throws AgentError when there is no plan, or the port is taken. */
export async function observe(request: AgentRequest, options: AgentOptions): Promise<void> {
  const staging = insidePod(options.stagingRoot, outOf(request));
  const plan = await openPlan(staging.plan);
  if (plan === undefined)
    throw new AgentFailure(
      'AgentError',
      `there is no plan in ${shown(staging.plan)}: prepare must run first`,
    );
  const started = options.now().getTime();
  const elapsed = (): number => (options.now().getTime() - started) / 1000;
  const watch = { ...(await watchOf(request, staging, plan)), elapsed };
  const ids = { taskUID: request.task.uid, podUID: options.podUid };
  const report = (): ProgressReport => watch.progress.report(ids, elapsed());
  using queues = await serveWorker(watch, options);
  if (queues !== undefined) options.onRedis?.(queues.port);
  const server = await serve(report, options);
  try {
    await look(watch, options);
  } finally {
    server.close();
    server.closeAllConnections();
    await watch.queue.close();
  }
}

async function watchOf(
  request: AgentRequest,
  staging: Watch['staging'],
  plan: Plan,
): Promise<Omit<Watch, 'elapsed'>> {
  const recorded = new Set<string>();
  for await (const { id } of recordsOf(staging.records)) recorded.add(id);
  const progress = new Progress(request.inputs.effort);
  const pending: Unit[] = [];
  for await (const unit of plan.units()) {
    progress.expect(unit);
    if (request.run.per === 'Dataset' && unit.state === 'run') pending.push(unit);
  }
  return { request, staging, progress, recorded, queue: new UnitQueue(plan), pending, cursor: 0 };
}

/** The queues of a worker, before anything says that this container is ready; undefined for other models. */
async function serveWorker(watch: Watch, options: AgentOptions): Promise<RedisServer | undefined> {
  const { request, staging, progress, elapsed } = watch;
  if (request.run.worker === undefined) return undefined;
  const { now, log, redis = { host: WORKER.host, port: WORKER.port } } = options;
  const tell = (share: number): void => progress.tell(share, elapsed());
  const desk = await WorkerDesk.open({ request, file: staging.worker, progress: tell, log, now });
  return serveRedis(desk, redis);
}

async function serve(report: () => ProgressReport, options: AgentOptions): Promise<Server> {
  const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    answer(request.method ?? '', request.url ?? '', { response, report });
  });
  server.maxConnections = 64;
  server.listen(options.listen);
  await once(server, 'listening');
  const address = server.address();
  if (address !== null && typeof address === 'object') options.onListening?.(address.port);
  return server;
}

function answer(
  method: string,
  url: string,
  to: { readonly response: ServerResponse; readonly report: () => ProgressReport },
): void {
  const send = (status: number, body: unknown): void => {
    to.response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    to.response.end(`${JSON.stringify(body)}\n`);
  };
  if (method !== 'GET') send(405, { error: 'only GET is allowed' });
  else if (url === '/progress') send(200, to.report());
  else if (url === '/healthz') send(200, { ok: true });
  else send(404, { error: 'try /progress or /healthz' });
}

async function look(watch: Watch, options: AgentOptions): Promise<void> {
  let lastProblem = '';
  while (!options.signal.aborted) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- a loop over time
      await (watch.request.run.per === 'Dataset'
        ? lookForOutputs(watch)
        : lookForMarkers(watch, options.signal));
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== lastProblem) options.log(`cannot look for finished units: ${problem}`);
      lastProblem = problem;
    }
    // oxlint-disable-next-line no-await-in-loop -- as above
    await sleep(options.scanIntervalMs, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

async function lookForMarkers(watch: Watch, signal: AbortSignal): Promise<void> {
  const records: UnitRecord[] = [];
  try {
    await endUnits(watch, records, signal);
  } finally {
    // Their units are off the queue, whatever went wrong with a later one.
    await appendRecords(watch.staging.records, records);
  }
}

async function endUnits(watch: Watch, records: UnitRecord[], signal: AbortSignal): Promise<void> {
  for (let count = 0; count < PER_LOOK && !signal.aborted; count++) {
    // oxlint-disable-next-line no-await-in-loop -- the loop ends units one after the other
    const unit = await watch.queue.first();
    if (unit === undefined) break;
    // oxlint-disable-next-line no-await-in-loop -- as above
    const code = await readUntrusted({ root: watch.staging.control }, `${unit.id}.exit`, 16);
    if (code === '') break;
    // oxlint-disable-next-line no-await-in-loop -- as above
    const record = code.trim() === '0' ? await recordOf(watch, unit) : undefined;
    if (record !== undefined && !watch.recorded.has(unit.id)) records.push(record);
    watch.progress.end(unit, record !== undefined, watch.elapsed());
    watch.queue.shift();
  }
}

async function recordOf(watch: Watch, unit: Unit): Promise<UnitRecord | undefined> {
  const outputs: OutputRecord[] = [];
  for (const { path, spec } of unit.outputs) {
    const rule = watch.request.outputs[spec];
    // oxlint-disable-next-line no-await-in-loop -- a unit has few outputs
    const inspection =
      rule === undefined ? undefined : await inspectOutput({ root: watch.staging.out }, path, rule);
    if (inspection === undefined || 'problem' in inspection) return undefined;
    outputs.push(inspection.record);
  }
  return { id: unit.id, key: unit.key, outputs };
}

/** One run over the dataset says nothing about its recordings; their outputs do. Looks at some of them in turn. */
async function lookForOutputs(watch: Watch): Promise<void> {
  const ended = new Set<Unit>();
  for (let count = Math.min(PER_LOOK, watch.pending.length); count > 0; count--) {
    watch.cursor = (watch.cursor + 1) % watch.pending.length;
    const unit = watch.pending[watch.cursor];
    // oxlint-disable-next-line no-await-in-loop -- bounded, and light on the volume
    if (unit !== undefined && (await allExist(watch, unit))) ended.add(unit);
  }
  for (const unit of ended) watch.progress.end(unit, true, watch.elapsed());
  if (ended.size > 0) watch.pending = watch.pending.filter((unit) => !ended.has(unit));
}

async function allExist(watch: Watch, unit: Unit): Promise<boolean> {
  for (const { path, spec } of unit.outputs) {
    // oxlint-disable-next-line no-await-in-loop -- a unit has few outputs
    const found = await statUntrusted({ root: watch.staging.out }, path);
    if (found === undefined || !found.isFile()) return false;
    if (found.size === 0 && watch.request.outputs[spec]?.allowEmpty !== true) return false;
  }
  return true;
}
