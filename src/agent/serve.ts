/**
 * The store agent: answers the controller's questions about the store before a task has a pod. HTTP on the pod network;
 * every request has a bounded body and needs the bearer secret, every answer is made by a process of its own with
 * bounded time and memory, and only so many at once. What is over the bounds is refused at once with 503, never queued:
 * the controller asks again, or does without.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { once } from 'node:events';
import { STORE_PATHS, STORE_QUESTION_BYTES } from '../api/store.ts';
import type { StoreQuestion } from '../api/store.ts';
import type { Asked } from './ask-process.ts';
import { isAuthorised, readSecrets } from './secret.ts';

// As in observe.ts: an import of node:http would load Node's fetch as well.
const { createServer } = process.getBuiltinModule('node:http');

export interface ServeOptions {
  readonly listen: { readonly host?: string; readonly port: number };
  /** Called with the port once it answers. */
  readonly onListening?: (port: number) => void;
  readonly tokenFile: string;
  /** Questions that are answered at the same time. */
  readonly concurrency: number;
  readonly ask: (
    question: StoreQuestion,
    given: { readonly body: string; readonly signal: AbortSignal },
  ) => Asked;
  readonly signal: AbortSignal;
  /** One line for people. */
  readonly log: (line: string) => void;
}

const MAX_CONNECTIONS = 128;

/** Serves until the signal is aborted. Throws when there is no secret or the port is taken. */
export async function serveStore(options: ServeOptions): Promise<void> {
  await readSecrets(options.tokenFile);
  const state: State = { options, busy: 0, complaint: '' };
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5000 }, (request, response) => {
    void handle(state, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listening(server, options);
  if (!options.signal.aborted) await once(options.signal, 'abort');
  server.close();
  server.closeAllConnections();
}

async function listening(server: Server, { listen, onListening, log }: ServeOptions): Promise<void> {
  server.listen(listen);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') return;
  log(`store agent listens on port ${address.port}`);
  onListening?.(address.port);
}

interface State {
  readonly options: ServeOptions;
  /** Processes that are not gone yet. */
  busy: number;
  /** The last problem with the secret, so that it is told once. */
  complaint: string;
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

async function handle(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const started = performance.now();
  const question = questionOf(request);
  try {
    const { status, body, headers = {} } = await reply(state, request, response);
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close', ...headers });
    response.end(`${JSON.stringify(body)}\n`);
    if (question !== undefined)
      state.options.log(`${question} ${status} in ${Math.round(performance.now() - started)} ms`);
  } catch {
    request.destroy(); // the client is gone, or sends a body without end
  }
}

const QUESTIONS = ['survey', 'staging', 'sweep'] as const satisfies readonly StoreQuestion[];

function questionOf({ method, url }: IncomingMessage): StoreQuestion | undefined {
  if (method !== 'POST') return undefined;
  return QUESTIONS.find((question) => STORE_PATHS[question] === url);
}

/** What costs least to refuse is refused first; the secret comes before anything is read or started. */
async function reply(state: State, request: IncomingMessage, response: ServerResponse): Promise<Reply> {
  if (request.method === 'GET' && request.url === '/healthz') return { status: 200, body: { ok: true } };
  const question = questionOf(request);
  if (question === undefined) return refusal(404, `try POST ${Object.values(STORE_PATHS).join(', ')}`);
  const length = Number(request.headers['content-length'] ?? Number.NaN);
  if (!Number.isInteger(length)) return refusal(411, 'a Content-Length is needed');
  if (length > STORE_QUESTION_BYTES)
    return refusal(413, `the body may have at most ${STORE_QUESTION_BYTES} bytes`);
  if (state.busy >= state.options.concurrency) return BUSY;
  if (!(await isAllowed(state, request))) return UNAUTHORISED;
  const body = await readBody(request);
  // Others came in while this one was read.
  if (state.busy >= state.options.concurrency) return BUSY;
  return answer(state, question, { body, response });
}

const BUSY: Reply = { ...refusal(503, 'busy: ask again'), headers: { 'retry-after': '1' } };
const UNAUTHORISED: Reply = {
  ...refusal(401, 'the bearer token is missing or wrong'),
  headers: { 'www-authenticate': 'Bearer' },
};

function refusal(status: number, error: string): Reply {
  return { status, body: { error } };
}

/** Without a readable secret nobody is let in. */
async function isAllowed(state: State, request: IncomingMessage): Promise<boolean> {
  try {
    const secrets = await readSecrets(state.options.tokenFile);
    state.complaint = '';
    return isAuthorised(request.headers.authorization, secrets);
  } catch (error) {
    const complaint = error instanceof Error ? error.message : String(error);
    if (complaint !== state.complaint) state.options.log(`nobody is let in: ${complaint}`);
    state.complaint = complaint;
    return false;
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8'); // Node reads no more than the Content-Length
}

async function answer(
  state: State,
  question: StoreQuestion,
  given: { readonly body: string; readonly response: ServerResponse },
): Promise<Reply> {
  const left = new AbortController();
  given.response.once('close', () => left.abort());
  if (given.response.closed) left.abort(); // while the secret and the body were read
  const signal = AbortSignal.any([left.signal, state.options.signal]);
  state.busy++;
  const { output, gone } = state.options.ask(question, { body: given.body, signal });
  void gone.finally(() => state.busy--);
  const said = await output;
  if (!('error' in said)) return { status: 200, body: said.answer };
  return refusal(said.asker ? 400 : 503, said.error);
}
