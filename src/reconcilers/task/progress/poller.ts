import { Agent, request } from 'undici';
import { CONTAINER, OBSERVE_PORT } from '../../../api/keys.ts';
import { progressReport, type ProgressReport } from '../../../api/request.ts';
import { type Clock, delay } from '../../../controller/clock.ts';
import type { Log } from '../../../controller/log.ts';
import { stateOf } from '../../../jobs/outcome.ts';
import type { PodView } from '../../../jobs/views.ts';
import type { ProgressBook } from './book.ts';

export interface PollerDeps {
  /** Pods of all watched tasks, at the moment of the call. */
  readonly pods: () => Iterable<PodView>;
  readonly book: ProgressBook;
  /** Called with the task's UID when its progress changed. */
  readonly changed: (taskUid: string) => void;
  readonly intervalMs: number;
  /** Asked before each question: nobody but the leader calls pods. */
  readonly isFresh: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Port of observe; another one in tests. */
  readonly port?: number;
}

/** So many that pods which do not answer hold up 50 others for no more than ANSWER_MS. */
const CONCURRENCY = 32;
const ANSWER_MS = 2000;
const MAX_ANSWER_BYTES = 4096;

/** Asks every pod whose model runs how far it is, round after round, until the signal aborts. */
export async function pollProgress(deps: PollerDeps, signal: AbortSignal): Promise<void> {
  const agent = new Agent({
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
    connect: { timeout: ANSWER_MS },
    connections: 1,
  });
  try {
    while (!signal.aborted) {
      const startedMs = deps.clock.monotonicMs();
      await round(deps, agent, signal);
      // From start to start, as long as a round fits: slow pods must not make all others older.
      const tookMs = deps.clock.monotonicMs() - startedMs;
      const pauseMs = Math.max(deps.intervalMs - tookMs, deps.intervalMs / 10);
      await delay(deps.clock, pauseMs, signal).catch(() => undefined);
    }
  } finally {
    await agent.destroy();
  }
}

/** A fixed number of workers over one list: a round takes longer as tasks grow, the load does not. */
async function round(deps: PollerDeps, agent: Agent, signal: AbortSignal): Promise<void> {
  const waiting = [...deps.pods()].filter((pod) => pod.ip && stateOf(pod, CONTAINER.model)?.running);
  const next = async (): Promise<void> => {
    for (let pod = waiting.pop(); pod && !signal.aborted; pod = waiting.pop())
      if (deps.isFresh()) await ask(deps, { agent, signal }, pod);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, next));
}

interface Line {
  readonly agent: Agent;
  readonly signal: AbortSignal;
}

async function ask(deps: PollerDeps, line: Line, pod: PodView): Promise<void> {
  try {
    const host = pod.ip?.includes(':') ? `[${pod.ip}]` : pod.ip;
    const report = await read(line, `http://${host}:${deps.port ?? OBSERVE_PORT}/progress`);
    // The address may belong to another pod by now; the answer says whose progress it is.
    if (report.podUID !== pod.metadata.uid || report.taskUID !== pod.taskUid) return;
    if (deps.book.note(report)) deps.changed(report.taskUID);
  } catch (error) {
    deps.log.debug('No progress from pod', { pod: pod.metadata.name, error });
  }
}

async function read({ agent, signal }: Line, url: string): Promise<ProgressReport> {
  const { statusCode, body } = await request(url, {
    dispatcher: agent,
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES)
      throw new Error(`the answer of ${url} is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`);
  return progressReport.parse(JSON.parse(Buffer.concat(chunks).toString()));
}
