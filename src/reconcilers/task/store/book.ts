import type { AgentRequest } from '../../../api/request.ts';
import { type SurveyAnswer, surveyAnswer } from '../../../api/store.ts';
import type { Clock } from '../../../controller/clock.ts';
import { Fifo } from '../../../controller/fifo.ts';
import type { Log } from '../../../controller/log.ts';
import { backoffMs } from '../../../lib/backoff.ts';
import { type StoreClient, StoreError } from './client.ts';

/**
 * What is known of the store before there is a pod.
 *   unknown    no agent, or it cannot tell now: the pod will find out
 *   asked      the answer brings the task back
 *   answered   how it is, and when to ask again
 */
export type StoreSeen =
  | { readonly is: 'unknown' }
  | { readonly is: 'asked' }
  | { readonly is: 'answered'; readonly answer: SurveyAnswer; readonly recheckMs: number };

/**
 * What the store agents said about each task. Memory only. Nobody waits for an answer: a look says what is known, and
 * the answer brings the task back. Every question ends: with an answer, or with "unknown", and then the task starts as
 * if there were no agent.
 */
export interface StoreBook {
  /** What is known about the question's task; asks when nothing is, or when it is old. */
  look(namespace: string, question: AgentRequest): StoreSeen;
  forget(taskUid: string): void;
}

export interface StoreBookDeps {
  readonly client: StoreClient;
  /** Called with the task's UID when a question has ended. */
  readonly changed: (taskUid: string) => void;
  /** Longest time for one question, and longest wait for its turn. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** @default Math.random */
  readonly random?: () => number;
}

/** Questions on the way at once, to all agents together. */
const CONCURRENCY = 8;
/** How long an answer counts: longer with each one about the same task, so that a long wait asks less and less. */
const FRESH = { baseMs: 20_000, maxMs: 600_000 };
/** How long "unknown" counts for one task: long enough to start it. */
const UNKNOWN_MS = 60_000;
/** How long an agent that does not answer is left alone. */
const DOWN = { baseMs: 30_000, maxMs: 300_000 };

interface Entry {
  seen: 'asked' | 'unknown' | SurveyAnswer;
  /** Of the clock, monotonic. */
  until: number;
  answers: number;
}

interface Site {
  failures: number;
  downUntil: number;
}

export function createStoreBook(deps: StoreBookDeps): StoreBook {
  const book: Book = { deps, entries: new Map(), sites: new Map(), queue: new Fifo(), running: 0 };
  return {
    look: (namespace, question) => look(book, namespace, question),
    forget: (uid) => void book.entries.delete(uid),
  };
}

interface Asking {
  readonly namespace: string;
  readonly question: AgentRequest;
  readonly entry: Entry;
  /** Of the clock, monotonic. */
  readonly since: number;
}

interface Book {
  readonly deps: StoreBookDeps;
  readonly entries: Map<string, Entry>;
  readonly sites: Map<string, Site>;
  readonly queue: Fifo<Asking>;
  running: number;
}

function look(book: Book, namespace: string, question: AgentRequest): StoreSeen {
  const now = book.deps.clock.monotonicMs();
  const { uid } = question.task;
  const known = book.entries.get(uid);
  if (known?.seen === 'asked') return { is: 'asked' };
  if (known && known.until > now) return seenOf(known.seen, known.until - now);
  if (siteOf(book, namespace).downUntil > now) return { is: 'unknown' };
  const entry: Entry = { seen: 'asked', until: 0, answers: known?.answers ?? 0 };
  book.entries.set(uid, entry);
  book.queue.push({ namespace, question, entry, since: now });
  startNext(book);
  return { is: 'asked' };
}

function seenOf(seen: Exclude<Entry['seen'], 'asked'>, recheckMs: number): StoreSeen {
  return seen === 'unknown' ? { is: 'unknown' } : { is: 'answered', answer: seen, recheckMs };
}

function siteOf({ sites }: Book, namespace: string): Site {
  const site = sites.get(namespace) ?? { failures: 0, downUntil: 0 };
  sites.set(namespace, site);
  return site;
}

function startNext(book: Book): void {
  while (book.running < CONCURRENCY) {
    const asking = book.queue.shift();
    if (!asking) return;
    book.running++;
    void ask(book, asking).finally(() => {
      book.running--;
      startNext(book);
    });
  }
}

/** Never throws. */
async function ask(book: Book, { namespace, question, entry, since }: Asking): Promise<void> {
  const { client, clock, signal, changed, random, timeoutMs } = book.deps;
  try {
    const now = clock.monotonicMs();
    // Others may have found out meanwhile that nobody answers.
    if (siteOf(book, namespace).downUntil > now) throw new StoreError('question', 'the agent is down');
    if (now - since > timeoutMs) throw new StoreError('question', 'too many questions');
    entry.seen = await client.ask(namespace, 'survey', { body: question, answer: surveyAnswer, signal });
    entry.until = clock.monotonicMs() + backoffMs(entry.answers++, FRESH, random);
    noteAnswer(book, namespace);
  } catch (error) {
    entry.seen = 'unknown';
    entry.until = clock.monotonicMs() + UNKNOWN_MS;
    noteFailure(book, namespace, error);
  }
  changed(question.task.uid);
}

function noteAnswer(book: Book, namespace: string): void {
  const site = siteOf(book, namespace);
  if (site.failures > 0) book.deps.log.info('The store agent answers again', { namespace });
  site.failures = 0;
}

/** An agent that fails is told once, until it answers again. */
function noteFailure(book: Book, namespace: string, error: unknown): void {
  const { log, clock, signal, random } = book.deps;
  if (signal.aborted) return;
  if (error instanceof StoreError && error.about === 'question')
    return log.debug('The store agent could not tell', { namespace, error });
  const site = siteOf(book, namespace);
  site.downUntil = clock.monotonicMs() + backoffMs(site.failures, DOWN, random);
  if (site.failures++ === 0)
    log.warn('The store agent does not answer: tasks start without its check', { namespace, error });
}
