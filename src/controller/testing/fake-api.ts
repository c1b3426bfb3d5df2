import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { ClusterConnection, Credentials } from '../kube-config.ts';
import { answerOf } from './fake-routes.ts';
import type { SeenRequest } from './fake-routes.ts';
import type { StoredEvent } from './fake-store.ts';
import { FakeStatusError, FakeStore } from './fake-store.ts';

/** What may go wrong with one call. */
export type Fault =
  | {
      readonly kind: 'reply';
      readonly code: number;
      readonly reason?: string;
      readonly retryAfterSeconds?: number;
      readonly text?: string;
    }
  /** The connection breaks before the server does anything. */
  | { readonly kind: 'drop-request' }
  /** The server does it and the answer is lost. */
  | { readonly kind: 'drop-response' }
  /** No answer, ever. */
  | { readonly kind: 'stall' }
  | { readonly kind: 'garbage' };

/** What may go wrong with the open watches. */
export type WatchFault =
  | 'close'
  | 'reset'
  | 'cut-line'
  | 'error-410'
  | 'error-500'
  | 'corrupt-line'
  | 'unknown-type';

interface Watch {
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly response: ServerResponse;
}

interface Rule {
  readonly matches: (request: SeenRequest) => boolean;
  readonly fault: Fault;
  times: number;
}

/** A small API server on loopback for tests of the runtime: streaming, paging, versions, and faults on demand. */
export class FakeApi {
  readonly store = new FakeStore();
  readonly requests: SeenRequest[] = [];
  /** The bearer token that is accepted; undefined accepts everything. */
  token: string | undefined;
  /** Events of the next so many writes never reach a watch. */
  dropEvents = 0;
  readonly #server: Server;
  readonly #watches = new Set<Watch>();
  readonly #rules: Rule[] = [];
  #sockets = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.store.onEvent((event) => this.#broadcast(event));
  }

  static async start(): Promise<FakeApi> {
    const server = createServer({ keepAliveTimeout: 60_000 });
    const api = new FakeApi(server);
    server.on('connection', (socket) => Object.assign(socket, { number: ++api.#sockets }));
    server.on('request', (request, response) => void api.#serve(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  }

  /** Connections accepted so far. */
  get sockets(): number {
    return this.#sockets;
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  /** A connection for createTransport; `credentials` may change between calls. */
  connection(credentials: (fresh: boolean) => Credentials = () => ({})): ClusterConnection {
    return {
      server: this.url,
      namespace: 'default',
      credentials: async ({ fresh = false } = {}) => credentials(fresh),
    };
  }

  /** The next `times` calls that match fail in that way. */
  fail(fault: Fault, matches: (request: SeenRequest) => boolean = () => true, times = 1): void {
    this.#rules.push({ matches, fault, times });
  }

  /** Does that to every open watch, right now. */
  breakWatches(fault: WatchFault): void {
    for (const watch of this.#watches) {
      if (!LEAVES_OPEN.has(fault)) this.#watches.delete(watch);
      breakWatch(watch, fault);
    }
  }

  /** Sends a bookmark at the newest version to every open watch. */
  bookmark(): void {
    const resourceVersion = String(this.store.version);
    for (const { response } of this.#watches)
      writeLine(response, { type: 'BOOKMARK', object: { metadata: { resourceVersion } } });
  }

  /** Sends an event to every open watch once more, however old it is. */
  replay(type: StoredEvent['type'], object: StoredEvent['object']): void {
    for (const { response } of this.#watches) writeLine(response, { type, object });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = await readRequest(request);
    this.requests.push(seen);
    const fault = this.#faultFor(seen);
    if (fault?.kind === 'stall') return;
    if (fault?.kind === 'drop-request') {
      request.socket.destroy();
      return;
    }
    if (fault?.kind === 'reply') {
      replyFault(response, fault);
      return;
    }
    if (this.token !== undefined && seen.token !== this.token) {
      sendStatus(response, 401, 'Unauthorized', 'Unauthorized');
      return;
    }
    this.#act(seen, response, fault);
  }

  #act(seen: SeenRequest, response: ServerResponse, fault: Fault | undefined): void {
    try {
      const answer = answerOf(this.store, seen);
      if (fault?.kind === 'drop-response') response.socket?.destroy();
      else if (fault?.kind === 'garbage') response.end('{"half":');
      else if ('watch' in answer) this.#openWatch(answer.watch, response);
      else sendJson(response, answer.code, answer.body);
    } catch (error) {
      if (error instanceof FakeStatusError) sendStatus(response, error.code, error.reason, error.message);
      else sendStatus(response, 500, 'InternalError', String(error));
    }
  }

  #openWatch(
    { backlog, ...scope }: { collection: string; namespace: string | undefined; backlog: StoredEvent[] },
    response: ServerResponse,
  ): void {
    const watch = { ...scope, response };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const event of backlog) send(watch, event);
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
  }

  #broadcast(event: StoredEvent): void {
    if (this.dropEvents > 0) {
      this.dropEvents--;
      return;
    }
    for (const watch of this.#watches) send(watch, event);
  }

  #faultFor(seen: SeenRequest): Fault | undefined {
    const rule = this.#rules.find(({ times, matches }) => times > 0 && matches(seen));
    if (rule) rule.times--;
    return rule?.fault;
  }
}

function send({ collection, namespace, response }: Watch, { type, object, ...event }: StoredEvent): void {
  if (event.collection !== collection) return;
  if (namespace !== undefined && object.metadata.namespace !== namespace) return;
  writeLine(response, { type, object });
}

const writeLine = (response: ServerResponse, event: unknown): void =>
  void response.write(`${JSON.stringify(event)}\n`);

const LEAVES_OPEN: ReadonlySet<WatchFault> = new Set(['corrupt-line', 'unknown-type']);

function breakWatch({ response }: Watch, fault: WatchFault): void {
  switch (fault) {
    case 'close':
      response.end();
      return;
    case 'reset':
      response.socket?.destroy();
      return;
    case 'cut-line':
      response.end('{"type":"MODIFIED","object":{"meta');
      return;
    case 'error-410':
      response.end(
        `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`,
      );
      return;
    case 'error-500':
      response.end(
        `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 500, reason: 'InternalError' } })}\n`,
      );
      return;
    case 'corrupt-line':
      response.write('{"type":"MODIFIED","obj\u0000ct":\n');
      return;
    case 'unknown-type':
      response.write('{"type":"SURPRISE","object":{}}\n');
  }
}

async function readRequest(request: IncomingMessage): Promise<SeenRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://fake');
  const text = Buffer.concat(chunks).toString('utf8');
  return {
    method: request.method ?? 'GET',
    path: pathname,
    query: searchParams,
    body: text === '' ? undefined : JSON.parse(text),
    token: request.headers.authorization?.replace('Bearer ', ''),
    contentType: request.headers['content-type'],
    socket: (request.socket as unknown as { number: number }).number,
  };
}

function replyFault(response: ServerResponse, fault: Extract<Fault, { kind: 'reply' }>): void {
  const { code, reason = 'Injected', retryAfterSeconds, text } = fault;
  if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
  if (text === undefined) sendStatus(response, code, reason, 'injected by the test');
  else response.writeHead(code, { 'content-type': 'text/html' }).end(text);
}

function sendStatus(response: ServerResponse, code: number, reason: string, message: string): void {
  sendJson(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message });
}

function sendJson(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
