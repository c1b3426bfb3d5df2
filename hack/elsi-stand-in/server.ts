import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import {
  type Fault,
  FaultBook,
  type FaultInput,
  type Operation,
  sendEndless,
  sendJson,
  sendPage,
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
  /** Requests so far, by operation. */
  readonly requests: Readonly<Record<Operation, number>>;
  add: Store['add'];
  set: Store['set'];
  remove: Store['remove'];
  inject(fault: FaultInput): void;
  calm(): void;
  /** Refuses every token handed out so far. */
  expireTokens(): void;
  close(): Promise<void>;
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
  readonly requests: Record<Operation, number>;
  /** Token -> when it expires. */
  readonly tokens: Map<string, number>;
}

const MAX_BODY_BYTES = 65_536;

export async function startStandIn(options: StandInOptions): Promise<StandIn> {
  const state: State = {
    options,
    store: new Store(options.file),
    faults: new FaultBook(),
    requests: { login: 0, list: 0, get: 0, put: 0 },
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
  const { store, faults, requests, tokens } = state;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tasks: store.tasks,
    audit: store.audit,
    requests,
    add: (task) => store.add(task),
    set: (uid, change) => store.set(uid, change),
    remove: (uid) => store.remove(uid),
    inject: (fault) => faults.add(fault),
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
  const body = await bodyOf(request);
  if (pathname.startsWith('/stand-in/'))
    return control({ state, request, response, body, uid: undefined }, pathname);
  const groups = TASK_PATH.exec(pathname)?.groups;
  const operation = operationOf(request.method ?? 'GET', pathname, groups?.['uid']);
  if (!operation) return sendPage(response, 404);
  const call: Call = { state, request, response, body, uid: groups?.['uid'] };
  state.requests[operation]++;
  const fault = state.faults.take(operation, call.uid);
  if (fault) await goWrong(call, operation, fault);
  else answer(call, operation);
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

async function goWrong(call: Call, operation: Operation, fault: Fault['do']): Promise<void> {
  const { response, state } = call;
  switch (fault.kind) {
    case 'status': {
      const headers = fault.retryAfter === undefined ? {} : { 'retry-after': String(fault.retryAfter) };
      if (fault.page) return sendPage(response, fault.status, headers);
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      return sendJson(response, fault.status, { message: 'injected' });
    }
    case 'page':
      return sendPage(response, 200);
    case 'hang':
      return;
    case 'half':
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
      response.write('[{"task_uid": "');
      await pause(50);
      response.destroy();
      return;
    case 'reset':
      if (fault.after) answer({ ...call, response: nowhere(response) }, operation);
      response.destroy();
      return;
    case 'delay':
      await pause(fault.ms);
      return answer(call, operation);
    case 'items':
      return sendJson(response, 200, fault.items);
    case 'many':
      return sendJson(response, 200, copies(state.store, fault.count));
    case 'bytes':
      return sendEndless(response, [...state.store.tasks.values()][0] ?? {}, fault.bytes);
    case 'token':
      return sendJson(response, 200, { ...grant(state), expires_in: fault.expiresIn });
  }
}

/** Takes an answer that nobody gets. */
function nowhere(response: ServerResponse): ServerResponse {
  const sink = Object.create(response) as ServerResponse;
  sink.writeHead = () => sink;
  sink.end = () => sink;
  return sink;
}

/** Finished tasks of the past, as a laboratory has collected them, behind those of now. */
function copies(store: Store, count: number): unknown[] {
  const now = [...store.tasks.values()];
  const past = Array.from({ length: count }, (_, index) => ({
    ...now[0],
    task_uid: `00000000-0000-4000-9000-${index.toString(16).padStart(12, '0')}`,
    status_label: 'completed',
  }));
  return [...past, ...now];
}

function answer(call: Call, operation: Operation): void {
  const { state, response, uid } = call;
  if (operation === 'login') return login(call);
  if (!isAuthorized(call)) return sendPage(response, 401, { 'www-authenticate': 'Bearer' });
  if (operation === 'list') return sendJson(response, 200, [...state.store.tasks.values()]);
  const task = state.store.tasks.get((uid ?? '').toLowerCase());
  if (!task) return sendJson(response, 404, { message: 'Task not found' });
  return operation === 'get' ? sendJson(response, 200, task) : put(call, task);
}

const credentials = z.object({ client_id: z.string(), client_secret: z.string() });

function login({ state, request, response, body }: Call): void {
  if (!(request.headers['content-type'] ?? '').includes('application/json')) return sendPage(response, 415);
  const { data } = credentials.safeParse(json(body));
  const isRight =
    data?.client_id === state.options.clientId && data.client_secret === state.options.clientSecret;
  return isRight
    ? sendJson(response, 200, grant(state))
    : sendJson(response, 401, { message: 'Invalid credentials' });
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

function put({ state, request, response, body }: Call, task: StoredTask): void {
  if (!(request.headers['content-type'] ?? '').includes('application/json')) return sendPage(response, 415);
  const { data } = change.safeParse(json(body));
  if (!data || Object.keys(data).length === 0) return sendJson(response, 400, { message: 'No data' });
  if (data.status !== undefined && typeof data.status !== 'string') return sendPage(response, 500);
  const duration = typeof data.estimated_duration === 'number' ? data.estimated_duration : undefined;
  const changed = state.store.change(task, {
    ...(data.status === undefined ? {} : { status: data.status }),
    ...(duration === undefined ? {} : { duration }),
  });
  return sendJson(response, 200, changed);
}

function json(text: string): unknown {
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
function control({ state, request, response, body }: Call, path: string): void {
  const { store, faults, tokens } = state;
  const what = `${request.method} ${path.slice('/stand-in/'.length)}`;
  try {
    if (what === 'GET audit') return sendJson(response, 200, store.audit);
    if (what === 'GET tasks') return sendJson(response, 200, [...store.tasks.values()]);
    if (what === 'POST tasks') return sendJson(response, 201, store.add(newTask.parse(json(body))));
    if (what === 'PATCH tasks') {
      const { task_uid: uid, ...rest } = edit.parse(json(body));
      return sendJson(response, 200, store.set(uid, rest));
    }
    if (what === 'POST faults') faults.add(json(body) as FaultInput);
    else if (what === 'DELETE faults') faults.clear();
    else if (what === 'DELETE tokens') tokens.clear();
    else return sendPage(response, 404);
    return sendJson(response, 200, { ok: true });
  } catch (error) {
    return sendJson(response, 400, { message: error instanceof Error ? error.message : String(error) });
  }
}
