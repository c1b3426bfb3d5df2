import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import {
  fault,
  type Fault,
  FaultBook,
  type FaultInput,
  json,
  type Operation,
  page,
  type Reply,
  send,
  sendCompressed,
  sendEndless,
} from './faults.ts';
import { type AuditEntry, Store, type StoredTask } from './store.ts';

/**
 * Stands in for ELSI, which is closed: speaks the contract as it was recorded from a running server (test/contract
 * states it), keeps a log of every PUT, and goes wrong on command. For demo and tests only.
 */
export interface StandIn {
  /** Without a trailing /api. */
  readonly url: string;
  readonly tasks: ReadonlyMap<string, StoredTask>;
  readonly audit: readonly AuditEntry[];
  /** Every PUT in the order in which it came, whatever became of it, and what the task showed before. */
  readonly puts: readonly Put[];
  /** Requests so far, by operation. */
  readonly requests: Readonly<Record<Operation, number>>;
  /** The most lists that were under way at once. */
  readonly mostListsAtOnce: () => number;
  /** Faults that are still to come. */
  readonly unusedFaults: () => readonly Fault[];
  add: Store['add'];
  set: Store['set'];
  remove: Store['remove'];
  inject(fault: FaultInput): void;
  calm(): void;
  /** Refuses every token handed out so far. */
  expireTokens(): void;
  close(): Promise<void>;
}

interface Put {
  readonly uid: string;
  readonly body: string;
  readonly before: string;
}

export interface StandInOptions {
  /** 0 picks a free port. */
  readonly port?: number;
  readonly host?: string;
  /** Keeps tasks and log over restarts. */
  readonly file?: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Lifetime of a token in seconds. */
  readonly tokenSeconds?: number;
}

interface State {
  readonly options: StandInOptions;
  readonly store: Store;
  readonly faults: FaultBook;
  readonly puts: Put[];
  readonly requests: Record<Operation, number>;
  readonly lists: { now: number; most: number };
  /** Token -> when it expires. */
  readonly tokens: Map<string, number>;
}

const MAX_BODY_BYTES = 65_536;

export async function startStandIn(options: StandInOptions): Promise<StandIn> {
  const state: State = {
    options,
    store: new Store(options.file),
    faults: new FaultBook(),
    puts: [],
    requests: { login: 0, list: 0, get: 0, put: 0 },
    lists: { now: 0, most: 0 },
    tokens: new Map(),
  };
  const server = createServer((request, response) => {
    serve(state, request, response).catch(() => response.destroy());
  });
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, host, resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : (options.port ?? 0);
  const { store, faults, puts, requests, lists, tokens } = state;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tasks: store.tasks,
    audit: store.audit,
    puts,
    requests,
    mostListsAtOnce: () => lists.most,
    unusedFaults: () => faults.unused,
    add: (task) => store.add(task),
    set: (uid, change) => store.set(uid, change),
    remove: (uid) => store.remove(uid),
    inject: (input) => faults.add(input),
    calm: () => faults.clear(),
    expireTokens: () => tokens.clear(),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Call {
  readonly state: State;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: string;
  readonly uid: string | undefined;
}

const TASK_PATH = /^\/api\/analytics\/services\/tasks(?:\/(?<uid>[^/?]+))?\/?$/;

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? '/', 'http://stand-in');
  const uid = TASK_PATH.exec(pathname)?.groups?.['uid'];
  const call: Call = { state, request, response, body: await bodyOf(request), uid };
  if (pathname.startsWith('/stand-in/')) return send(response, control(call, pathname));
  const operation = operationOf(request.method ?? 'GET', pathname, uid);
  if (!operation) return send(response, page(404));
  state.requests[operation]++;
  if (operation === 'list') countLists(state.lists, response);
  if (operation === 'put') notePut(call);
  const wrong = state.faults.take(operation, uid);
  if (wrong) await goWrong(call, operation, wrong);
  else send(response, perform(call, operation));
}

function notePut({ state, uid = '', body }: Call): void {
  state.puts.push({ uid, body, before: state.store.tasks.get(uid)?.status_label ?? '' });
}

function countLists(lists: State['lists'], response: ServerResponse): void {
  lists.now++;
  lists.most = Math.max(lists.most, lists.now);
  response.once('close', () => lists.now--);
}

function operationOf(method: string, path: string, uid: string | undefined): Operation | undefined {
  if (path === '/api/auth/login-service') return method === 'POST' ? 'login' : undefined;
  if (!TASK_PATH.test(path)) return undefined;
  if (method === 'GET') return uid === undefined ? 'list' : 'get';
  return method === 'PUT' && uid !== undefined ? 'put' : undefined;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request as AsyncIterable<Buffer>) {
    text += chunk.toString();
    if (text.length > MAX_BODY_BYTES) throw new Error('the body is too long');
  }
  return text;
}

/** Faults of the connection here, faults of the answer in `wrongAnswer`. */
async function goWrong(call: Call, operation: Operation, wrong: Fault['do']): Promise<void> {
  const { response, state } = call;
  switch (wrong.kind) {
    case 'hang':
      if (wrong.after) perform(call, operation);
      return;
    case 'half':
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
      response.write('[{"task_uid": "');
      await pause(50);
      response.destroy();
      return;
    case 'reset':
      if (wrong.after) perform(call, operation);
      response.destroy();
      return;
    case 'delay':
      await pause(wrong.ms);
      return send(response, perform(call, operation));
    case 'gzip':
      return sendCompressed(response, wrong.bytes);
    case 'bytes':
      return sendEndless(response, [...state.store.tasks.values()][0] ?? {}, wrong.bytes);
    default:
      return send(response, wrongAnswer(call, wrong));
  }
}

type WrongAnswer = Extract<Fault['do'], { kind: 'status' | 'page' | 'items' | 'many' | 'token' }>;

function wrongAnswer({ state, body: sent }: Call, wrong: WrongAnswer): Reply {
  switch (wrong.kind) {
    case 'status': {
      const headers = wrong.retryAfter === undefined ? {} : { 'retry-after': String(wrong.retryAfter) };
      return { status: wrong.status, page: wrong.page, body: { message: 'injected', sent }, headers };
    }
    case 'page':
      return page(200);
    case 'items':
      return json(200, wrong.items);
    case 'many':
      return json(200, copies(state.store, wrong.count));
    case 'token':
      return json(200, { ...grant(state), expires_in: wrong.expiresIn });
  }
}

/** Finished tasks of the past, as a laboratory has collected them, before those of now. */
function copies(store: Store, count: number): unknown[] {
  const now = [...store.tasks.values()];
  const past = Array.from({ length: count }, (_, index) => ({
    ...now[0],
    task_uid: `00000000-0000-4000-9000-${index.toString(16).padStart(12, '0')}`,
    status_label: 'completed',
  }));
  return [...past, ...now];
}

/** Carries a request out and says what the answer is. */
function perform(call: Call, operation: Operation): Reply {
  const { state, uid } = call;
  if (operation === 'login') return login(call);
  if (!isAuthorized(call)) return page(401, { 'www-authenticate': 'Bearer' });
  if (operation === 'list') return json(200, [...state.store.tasks.values()]);
  const task = state.store.tasks.get((uid ?? '').toLowerCase());
  if (!task) return json(404, { message: 'Task not found' });
  return operation === 'get' ? json(200, task) : put(call, task);
}

const credentials = z.object({ client_id: z.string(), client_secret: z.string() });

function login({ state, request, body }: Call): Reply {
  if (!isJson(request)) return page(415);
  const { data } = credentials.safeParse(parsed(body));
  const { clientId, clientSecret } = state.options;
  const isRight = data?.client_id === clientId && data.client_secret === clientSecret;
  return isRight ? json(200, grant(state)) : json(401, { message: 'Invalid credentials' });
}

function grant({ tokens, options }: State): { access_token: string; expires_in: number; token_type: string } {
  const { tokenSeconds = 3600 } = options;
  const token = randomUUID();
  tokens.set(token, performance.now() + tokenSeconds * 1000);
  return { access_token: token, expires_in: tokenSeconds, token_type: 'bearer' };
}

function isAuthorized({ state, request }: Call): boolean {
  const token = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  return token !== undefined && (state.tokens.get(token) ?? 0) > performance.now();
}

const change = z.looseObject({ status: z.unknown(), estimated_duration: z.unknown() }).partial();

function put({ state, request, body }: Call, task: StoredTask): Reply {
  if (!isJson(request)) return page(415);
  const { data } = change.safeParse(parsed(body));
  if (!data || Object.keys(data).length === 0) return json(400, { message: 'No data' });
  const { status, estimated_duration: duration } = data;
  if (status !== undefined && typeof status !== 'string') return page(500);
  const changed = state.store.change(task, {
    ...(status === undefined ? {} : { status }),
    ...(typeof duration === 'number' ? { duration } : {}),
  });
  return json(200, changed);
}

const isJson = ({ headers }: IncomingMessage): boolean =>
  (headers['content-type'] ?? '').includes('application/json');

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const newTask = z.looseObject({
  task_uid: z.string(),
  model_name: z.string(),
  dataset_uid_label: z.string(),
});
const edit = z.looseObject({ task_uid: z.string() });

/** The controls for a person or a demo: not part of the contract. */
function control({ state, request, body }: Call, path: string): Reply {
  const { store, faults, tokens } = state;
  const controls: Readonly<Record<string, () => unknown>> = {
    'GET audit': () => store.audit,
    'GET tasks': () => [...store.tasks.values()],
    'POST tasks': () => store.add(newTask.parse(parsed(body))),
    'PATCH tasks': () => {
      const { task_uid: uid, ...rest } = edit.parse(parsed(body));
      return store.set(uid, rest);
    },
    'POST faults': () => faults.add(fault.parse(parsed(body))),
    'DELETE faults': () => faults.clear(),
    'DELETE tokens': () => tokens.clear(),
  };
  const what = controls[`${request.method} ${path.slice('/stand-in/'.length)}`];
  if (!what) return page(404);
  try {
    return json(200, what() ?? { ok: true });
  } catch (error) {
    return json(400, { message: error instanceof Error ? error.message : String(error) });
  }
}
