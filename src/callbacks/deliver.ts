import { readFile } from 'node:fs/promises';
import type { Ended, Outboxes } from '../api/callbacks.ts';
import type { AnalysisTask } from '../api/objects.ts';
import type { OutboxEntry } from '../api/task.ts';
import { type Clock, delay } from '../controller/clock.ts';
import type { Log } from '../controller/log.ts';
import { messageOf } from '../controller/settle.ts';
import { backoffMs } from '../lib/backoff.ts';
import { AddressError, checkedAddresses } from './addresses.ts';
import type { Endpoint } from './config.ts';
import type { CallbackMetrics } from './metrics.ts';
import { payloadOf } from './payload.ts';
import { type Answer, send } from './send.ts';
import { readSecrets, signatureHeaders } from './sign.ts';

export interface DelivererDeps extends Outboxes {
  readonly endpoints: Readonly<Record<string, Endpoint>>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly metrics: CallbackMetrics;
  readonly log: Log;
}

/** Between two looks for events that are due. */
const LOOK_MS = 250;
/** Deliveries at once per endpoint: a slow receiver holds up nobody else. */
const PER_ENDPOINT = 4;
const RETRY = { baseMs: 2000, maxMs: 3_600_000 };

interface Due {
  readonly task: AnalysisTask;
  readonly entry: OutboxEntry;
  readonly endpoint: Endpoint | undefined;
}

/** What is known of an event that failed before. Memory only: after a restart it is simply tried again. */
interface Trouble {
  readonly failures: number;
  readonly againAtMs: number;
}

interface State {
  readonly deps: DelivererDeps;
  readonly troubles: Map<string, Trouble>;
  readonly underWay: Map<string, string>;
}

/** Delivers what the outboxes hold until the signal aborts. Each event at least once, those of a task in their order. */
export async function deliverCallbacks(deps: DelivererDeps, signal: AbortSignal): Promise<void> {
  const state: State = { deps, troubles: new Map(), underWay: new Map() };
  const running = new Set<Promise<void>>();
  while (!signal.aborted) {
    for (const due of dueNow(state)) {
      const { id, endpoint } = due.entry;
      state.underWay.set(id, endpoint);
      const run = attempt(state, due, signal).finally(() => {
        state.underWay.delete(id);
        running.delete(run);
      });
      running.add(run);
    }
    // oxlint-disable-next-line no-await-in-loop -- a loop over time
    await delay(deps.clock, LOOK_MS, signal).catch(() => undefined);
  }
  await Promise.allSettled(running);
}

/** The first waiting event of each task and endpoint, as far as its time has come and there is room. */
function dueNow(state: State): Due[] {
  const { deps } = state;
  const room = roomOf(state);
  const known = new Set<string>();
  const due: Due[] = [];
  for (const task of deps.tasks()) {
    for (const { id } of task.status?.outbox ?? []) known.add(id);
    for (const entry of firstOfEach(task, deps.ended)) {
      if (!isReady(state, entry) || !room.take(entry.endpoint)) continue;
      due.push({ task, entry, endpoint: endpointOf(deps, entry) });
    }
  }
  forget(state, known);
  return due;
}

/** A status may name anything, also `constructor`. */
function endpointOf({ endpoints }: DelivererDeps, { endpoint: name }: OutboxEntry): Endpoint | undefined {
  return Object.hasOwn(endpoints, name) ? endpoints[name] : undefined;
}

function roomOf({ underWay }: State): { take: (endpoint: string) => boolean } {
  const busy = new Map<string, number>();
  for (const name of underWay.values()) busy.set(name, (busy.get(name) ?? 0) + 1);
  return {
    take(endpoint) {
      const count = busy.get(endpoint) ?? 0;
      if (count >= PER_ENDPOINT) return false;
      busy.set(endpoint, count + 1);
      return true;
    },
  };
}

function isReady({ deps, troubles, underWay }: State, { id }: OutboxEntry): boolean {
  return !underWay.has(id) && (troubles.get(id)?.againAtMs ?? 0) <= deps.clock.monotonicMs();
}

/** What no outbox holds any more is written down; nobody asks for it again. */
function forget({ deps, troubles }: State, known: ReadonlySet<string>): void {
  for (const id of deps.ended.keys()) if (!known.has(id)) deps.ended.delete(id);
  for (const id of troubles.keys()) if (!known.has(id)) troubles.delete(id);
}

function firstOfEach({ status }: AnalysisTask, ended: ReadonlyMap<string, Ended>): OutboxEntry[] {
  const first = new Map<string, OutboxEntry>();
  for (const entry of status?.outbox ?? []) {
    const before = first.get(entry.endpoint);
    if (ended.has(entry.id) || (before && before.sequence <= entry.sequence)) continue;
    first.set(entry.endpoint, entry);
  }
  return [...first.values()];
}

async function attempt(state: State, due: Due, signal: AbortSignal): Promise<void> {
  const { deps, troubles } = state;
  const { task, entry } = due;
  if (!deps.mayAct()) return;
  const answer = await tell(deps, due, signal).catch((error: unknown): Answer => {
    return { is: error instanceof AddressError ? 'refused' : 'failed', why: messageOf(error) };
  });
  if (signal.aborted) return;
  deps.metrics.attempted(due.endpoint ? entry.endpoint : UNCONFIGURED, answer.is);
  const failures = (troubles.get(entry.id)?.failures ?? 0) + 1;
  const ended = verdictOn(deps, due, answer);
  if (ended === undefined) {
    const retryAfterMs = answer.is === 'failed' ? (answer.retryAfterMs ?? 0) : 0;
    const pause = Math.max(retryAfterMs, backoffMs(failures - 1, RETRY, deps.random));
    troubles.set(entry.id, { failures, againAtMs: deps.clock.monotonicMs() + pause });
  } else {
    deps.ended.set(entry.id, ended);
    deps.changed(task, entry, ended);
  }
  if (answer.is !== 'delivered')
    deps.log.warn('Callback not delivered', {
      endpoint: entry.endpoint,
      id: entry.id,
      failures,
      why: answer.why,
      givenUp: ended,
    });
}

function tell(deps: DelivererDeps, { task, entry, endpoint }: Due, signal: AbortSignal): Promise<Answer> {
  if (!endpoint) return Promise.resolve({ is: 'failed', why: 'the endpoint is not configured any more' });
  return deliverOnce({ task, entry, endpoint }, deps.clock.now(), signal);
}

/** What the metrics call every endpoint that the configuration does not name: their labels are a closed set. */
const UNCONFIGURED = 'unconfigured';

/** One delivery: also what `callbacks replay` does, with the same id and a new time. */
export async function deliverOnce(
  {
    task,
    entry,
    endpoint,
  }: { readonly task: AnalysisTask; readonly entry: OutboxEntry; readonly endpoint: Endpoint },
  now: Date,
  signal: AbortSignal,
): Promise<Answer> {
  const body = payloadOf(task, entry);
  const secrets = await readSecrets(endpoint.secretDirectory);
  const addresses = await checkedAddresses(new URL(endpoint.url).hostname, endpoint.allowPrivateAddresses);
  const ca = endpoint.caFile === undefined ? undefined : await readFile(endpoint.caFile, 'utf8');
  const headers = signatureHeaders(entry.id, now, body, secrets);
  const timeoutMs = endpoint.timeoutSeconds * 1000;
  return send({ url: endpoint.url, addresses, ca, headers, body, timeoutMs, signal });
}

/** Undefined: it is tried again. */
function verdictOn({ clock }: DelivererDeps, { entry, endpoint }: Due, answer: Answer): Ended | undefined {
  if (answer.is === 'delivered') return 'delivered';
  const ageMs = clock.now().getTime() - Date.parse(entry.time);
  const patienceMs = (endpoint?.giveUpAfterSeconds ?? ORPHANED_SECONDS) * 1000;
  return answer.is === 'refused' || ageMs > patienceMs ? 'givenUp' : undefined;
}

/** For events of an endpoint that left the configuration: it may have been a mistake. */
const ORPHANED_SECONDS = 86_400;
