import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request as forward } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import { LABEL } from '../../../src/api/keys.ts';
import { loadClusterConfig } from '../../../src/controller/kube-config.ts';
import { throwAwayCertificate } from './certificate.ts';
import { type Pump, startPump } from './pump.ts';
import {
  type Fault,
  type Injected,
  type LineRule,
  type Logged,
  type Rule,
  RuleBook,
  type Seen,
} from './rules.ts';

/** A TLS proxy between one operator and a real API server, with a log of all that passed. */
export interface Proxy {
  /** For the operator; the proxy itself acts with the identity of the kubeconfig that it was given. */
  readonly kubeconfig: string;
  readonly log: readonly Logged[];
  /** How many connections it has accepted so far. */
  connections(): number;
  /** What the kubeconfig refers to: certificate authority and bearer token. */
  readonly files: { readonly ca: string; readonly token: string };
  /** The next request that matches meets the fault. */
  inject(rule: Rule): Injected;
  /** The next line of a watch that matches meets the fault. */
  tamper(rule: LineRule): Injected;
  /** Keeps back all events of these kinds (all kinds without names), of watches that are open and of those that begin. */
  freeze(...resources: readonly string[]): void;
  thaw(): void;
  /** Resets every watch that is open now. */
  cutWatches(): void;
  /** Accepts everything and sends nothing, as a connection whose other end has vanished. */
  halfOpen(is: boolean): void;
  /**
   * Lists and watches of these kinds (all kinds without names) go to this API server and are answered from its cache;
   * undefined: back. Reads of one object or of one task's children stay: what asks for the present gets it or fails.
   */
  readFrom(other: Upstream | undefined, ...resources: readonly string[]): void;
  /** From now on everything goes to this API server, over new connections. */
  moveTo(other: Upstream): void;
  /** Any other bearer token gets 401; undefined: none is looked at. The operator reads its own from `files.token`. */
  accept(token: string | undefined): void;
  /** Shows a new certificate on new connections and cuts the old ones; resolves with what should be in `files.ca`. */
  renewCertificate(): Promise<string>;
  /** Closes the connections on which nothing happens, as a load balancer does. */
  closeIdle(): void;
  /** Every answer is the last one on its connection: what a server that goes away tells an HTTP/1.1 client. */
  lastAnswers(is: boolean): void;
  close(): Promise<void>;
}

/** An API server and the identity with which the proxy speaks to it. */
export interface Upstream {
  readonly server: string;
  readonly agent: Agent;
  readonly token: string | undefined;
}

export async function upstreamOf(kubeconfig: string): Promise<Upstream> {
  const connection = await loadClusterConfig({ kubeconfig });
  const { ca, cert, key, token } = await connection.credentials();
  return { server: connection.server, agent: new Agent({ keepAlive: true, ca, cert, key }), token };
}

interface State {
  upstream: Upstream;
  readonly rules: RuleBook<Rule>;
  readonly lines: RuleBook<LineRule>;
  readonly log: Logged[];
  readonly pumps: Set<Pump>;
  frozen: (resource: string) => boolean;
  silence: PromiseWithResolvers<void> | undefined;
  stale: Upstream | undefined;
  isStale: (resource: string) => boolean;
  accepted: string | undefined;
  lastAnswers: boolean;
}

const NOTHING = (): boolean => false;

export async function startProxy(upstreamKubeconfig: string): Promise<Proxy> {
  const directory = await mkdtemp(join(tmpdir(), 'proxy-'));
  const { cert, key } = await throwAwayCertificate(directory);
  const state: State = {
    upstream: await upstreamOf(upstreamKubeconfig),
    rules: new RuleBook(),
    lines: new RuleBook(),
    log: [],
    pumps: new Set(),
    frozen: NOTHING,
    silence: undefined,
    stale: undefined,
    isStale: NOTHING,
    accepted: undefined,
    lastAnswers: false,
  };
  const own = state.upstream;
  const server = createServer({ cert, key }, (request, response) => {
    serve(state, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  const kubeconfig = join(directory, 'kubeconfig');
  const files = { ca: join(directory, 'ca.pem'), token: join(directory, 'token') };
  await writeFile(files.ca, cert);
  await writeFile(files.token, 'first');
  await writeFile(kubeconfig, kubeconfigOf(`https://127.0.0.1:${address.port}`));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    own.agent.destroy();
    await rm(directory, { recursive: true, force: true });
  };
  const renewCertificate = async (): Promise<string> => {
    const renewed = await throwAwayCertificate(directory);
    server.setSecureContext(renewed);
    server.closeAllConnections();
    return renewed.cert;
  };
  let accepted = 0;
  server.on('connection', () => void accepted++);
  const connections = {
    connections: () => accepted,
    renewCertificate,
    closeIdle: () => server.closeIdleConnections(),
  };
  return { kubeconfig, files, log: state.log, ...controlsOf(state), ...connections, close };
}

type Connections = 'connections' | 'renewCertificate' | 'closeIdle' | 'close';

function controlsOf(state: State): Omit<Proxy, 'kubeconfig' | 'files' | 'log' | Connections> {
  return {
    inject: (rule) => state.rules.add(rule),
    tamper: (rule) => state.lines.add(rule),
    freeze: (...resources) => {
      state.frozen = anyOf(resources);
      for (const pump of state.pumps) if (state.frozen(pump.resource)) pump.freeze();
    },
    thaw: () => {
      state.frozen = NOTHING;
      for (const pump of state.pumps) pump.thaw();
    },
    cutWatches: () => state.pumps.forEach((pump) => pump.cut()),
    halfOpen: (is) => {
      if (is) {
        state.silence ??= Promise.withResolvers<void>();
        for (const pump of state.pumps) pump.freeze();
      } else {
        // What was swallowed stays swallowed: a dead connection never delivers.
        state.silence = undefined;
      }
    },
    readFrom: (other, ...resources) => {
      state.stale = other;
      state.isStale = anyOf(resources);
    },
    moveTo: (other) => {
      state.upstream = other;
      for (const pump of state.pumps) pump.cut();
    },
    accept: (token) => {
      state.accepted = token;
    },
    lastAnswers: (is) => {
      state.lastAnswers = is;
    },
  };
}

const anyOf =
  (resources: readonly string[]) =>
  (resource: string): boolean =>
    resources.length === 0 || resources.includes(resource);

function kubeconfigOf(server: string): string {
  const cluster = { server, 'certificate-authority': 'ca.pem' };
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'proxy', cluster }],
    users: [{ name: 'nobody', user: { tokenFile: 'token' } }],
    contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'nobody' } }],
    'current-context': 'proxy',
  });
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '/';
  const isWatch = /[?&]watch=(1|true)/.test(path);
  const seen: Seen = { method: request.method ?? 'GET', path, body: await bodyOf(request), isWatch };
  if (state.silence) return; // never answered, never closed
  const note = noteOf(state, seen, response);
  if (state.lastAnswers) response.shouldKeepAlive = false;
  if (state.accepted !== undefined && request.headers.authorization !== `Bearer ${state.accepted}`) {
    note(401);
    answer({ do: 'reply', status: 401, reason: 'Unauthorized' }, response);
    return;
  }
  const rule = state.rules.take(({ matches }) => matches(seen));
  const { fault } = rule ?? {};
  if (rule?.after) response.once('finish', rule.after);
  if (fault && !reaches(fault)) {
    rule?.onHit?.();
    note(0);
    answer(fault, response);
    return;
  }
  if (fault?.do === 'delay') {
    rule?.onHit?.();
    await pause(fault.ms);
  }
  await rule?.before?.(seen);
  const upstream = await send(state, fault?.do === 'rewrite' ? rewritten(seen, fault) : seen, request);
  note(upstream.statusCode ?? 0);
  if (fault?.do === 'drop-response' || fault?.do === 'lie') {
    await bodyOf(upstream);
    rule?.onHit?.();
    answer(fault, response);
    return;
  }
  pass(state, seen, { upstream, response });
}

/** Enters a request into the log, with the time of its arrival, once its fate is known. */
function noteOf({ log }: State, seen: Seen, response: ServerResponse): (status: number) => void {
  const atMs = performance.now();
  let endedMs: number | undefined;
  let entry: { endedMs: number | undefined } | undefined;
  response.once('close', () => {
    endedMs = performance.now();
    if (entry) entry.endedMs = endedMs;
  });
  return (status) => {
    const logged = { ...seen, status, atMs, endedMs };
    entry = logged;
    log.push(logged);
  };
}

const reaches = (fault: Fault): boolean =>
  ['drop-response', 'lie', 'pass', 'delay', 'rewrite'].includes(fault.do);

function rewritten(seen: Seen, { path, body }: Extract<Fault, { do: 'rewrite' }>): Seen {
  return { ...seen, path: path?.(seen.path) ?? seen.path, body: body?.(seen.body) ?? seen.body };
}

function answer(fault: Fault, response: ServerResponse): void {
  if (fault.do === 'reply' || fault.do === 'lie') {
    const retry =
      fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) };
    response.writeHead(fault.status, { 'content-type': 'application/json', ...retry });
    response.end(JSON.stringify(statusObject(fault)));
  } else if (fault.do === 'gone') {
    response.writeHead(200, { 'content-type': 'application/json' });
    const object = statusObject({ status: 410, reason: 'Expired' });
    response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
  } else if (fault.do !== 'hang') response.destroy();
}

function statusObject(what: { status: number; reason: string; message?: string; details?: object }): object {
  const { status: code, reason, message = `injected: ${reason}`, details } = what;
  const kind = { kind: 'Status', apiVersion: 'v1', status: 'Failure' };
  return { ...kind, reason, code, message, ...(details ? { details } : {}) };
}

function send(state: State, seen: Seen, request: IncomingMessage): Promise<IncomingMessage> {
  const { host: _host, authorization: _authorization, 'content-length': _length, ...given } = request.headers;
  const headers = seen.body === '' ? given : { ...given, 'content-length': Buffer.byteLength(seen.body) };
  const collection = seen.method === 'GET' ? collectionOf(seen.path) : undefined;
  const stale = collection !== undefined && state.isStale(collection) ? state.stale : undefined;
  const { server, agent, token } = stale ?? state.upstream;
  const url = new URL(seen.path, server);
  // Version 0 means "any, from the cache": what an API server that lags behind answers without knowing that it lags.
  if (stale && !seen.isWatch && !url.searchParams.has('continue'))
    url.searchParams.set('resourceVersion', '0');
  if (stale) url.searchParams.delete('resourceVersionMatch');
  return new Promise((resolve, reject) => {
    const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const out = forward(url, { method: seen.method, agent, headers: { ...headers, ...bearer } }, resolve);
    out.once('error', reject);
    out.end(seen.body);
  });
}

/** The kind that a list or a watch is about; undefined for a read of one object or of the children of one task. */
function collectionOf(path: string): string | undefined {
  if (decodeURIComponent(path).includes(`${LABEL.taskUid}=`)) return undefined;
  return /\/(analysistasks|analysismodels|jobs|pods|persistentvolumeclaims)(?:\?|$)/.exec(path)?.[1];
}

function pass(
  state: State,
  seen: Seen,
  { upstream, response }: { upstream: IncomingMessage; response: ServerResponse },
): void {
  const { connection: _connection, 'keep-alive': _keepAlive, ...headers } = upstream.headers;
  response.writeHead(upstream.statusCode ?? 502, headers);
  response.flushHeaders();
  upstream.once('error', () => response.destroy());
  if (!seen.isWatch) {
    upstream.pipe(response);
    return;
  }
  const resource = /\/(\w+)\?/.exec(seen.path)?.[1] ?? '';
  const pump = startPump(resource, { from: upstream, to: response }, state.lines);
  if (state.frozen(resource)) pump.freeze();
  state.pumps.add(pump);
  response.once('close', () => {
    state.pumps.delete(pump);
    upstream.destroy();
  });
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
