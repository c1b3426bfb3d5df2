import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, type Dispatcher, request } from 'undici';
import type { z } from 'zod';
import { STORE_ANSWER_BYTES, STORE_PATHS, type StoreQuestion } from '../../../api/store.ts';
import { messageOf } from '../../../controller/settle.ts';

/** How the store agents are reached. */
export interface StoreAgentOptions {
  /** URL of the agent of a namespace, with `{namespace}` in its place. */
  readonly urlTemplate: string;
  /** File with the bearer secret in its first line; read again for every question. */
  readonly tokenFile: string;
  /** Longest time for one question, waiting for a busy agent included. */
  readonly timeoutMs: number;
}

/**
 * Why there is no answer. `agent`: it cannot be reached, or is not what it should be. `question`: it is there, and cannot
 * tell this one thing.
 */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly about: 'agent' | 'question';

  constructor(about: 'agent' | 'question', message: string, options?: ErrorOptions) {
    super(message, options);
    this.about = about;
  }
}

export interface StoreQuestionOptions<T> {
  readonly body: unknown;
  readonly answer: z.ZodType<T>;
  readonly signal: AbortSignal;
}

export interface StoreClient {
  /** Throws StoreError. */
  ask<T>(namespace: string, question: StoreQuestion, options: StoreQuestionOptions<T>): Promise<T>;
  close(): Promise<void>;
}

const CONNECT_MS = 3000;
const BUSY_MS = 500;

export function createStoreClient(options: StoreAgentOptions): StoreClient {
  const { timeoutMs } = options;
  const agent = new Agent({
    connect: { timeout: CONNECT_MS },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    maxResponseSize: STORE_ANSWER_BYTES,
    pipelining: 0, // the agent closes each connection
  });
  return {
    async ask(namespace, question, given) {
      const base = options.urlTemplate.replaceAll('{namespace}', namespace);
      const { href: url } = new URL(STORE_PATHS[question], base);
      const signal = AbortSignal.any([given.signal, AbortSignal.timeout(timeoutMs)]);
      const body = JSON.stringify(given.body);
      const ask = async () => call(agent, { url, body, signal, token: await readToken(options.tokenFile) });
      let said = await ask();
      while (said.status === 503 && said.busy) {
        // An agent that has said that it is busy is there, whatever comes until the time is up.
        said = await sleep(BUSY_MS * (1 + Math.random()), undefined, { signal })
          .then(ask)
          .catch((error: unknown) => {
            if (!signal.aborted) throw error;
            throw new StoreError('question', `${url} was busy for ${timeoutMs} ms`);
          });
      }
      return read(said, given.answer, url);
    },
    close: () => agent.destroy(),
  };
}

async function readToken(file: string): Promise<string> {
  try {
    const [token = ''] = (await readFile(file, 'utf8')).trim().split('\n', 1);
    return token.trim();
  } catch (cause) {
    throw new StoreError('agent', `storeAgent.tokenFile cannot be read: ${messageOf(cause)}`, { cause });
  }
}

interface Call {
  readonly url: string;
  readonly body: string;
  readonly token: string;
  readonly signal: AbortSignal;
}

interface Said {
  readonly status: number;
  readonly busy: boolean;
  readonly text: string;
}

async function call(dispatcher: Dispatcher, { url, body, token, signal }: Call): Promise<Said> {
  try {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const response = await request(url, { dispatcher, method: 'POST', headers, body, signal });
    // Stopped by the dispatcher at the largest answer, and by the signal in time.
    const text = await response.body.text();
    return { status: response.statusCode, busy: response.headers['retry-after'] !== undefined, text };
  } catch (cause) {
    throw new StoreError('agent', `${url} does not answer: ${messageOf(cause)}`, { cause });
  }
}

function read<T>({ status, text }: Said, schema: z.ZodType<T>, url: string): T {
  const document = parse(text);
  if (status === 503 || status === 400)
    throw new StoreError('question', `${url} cannot tell: ${text.slice(0, 300).trim()}`);
  if (status === 401)
    throw new StoreError('agent', `${url} does not accept the token: both sides must have the same secret`);
  const parsed = schema.safeParse(document);
  if (status === 200 && parsed.success) return parsed.data;
  throw new StoreError('agent', `${url} answered ${status} with what is no answer of this version`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
