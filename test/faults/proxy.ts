import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, createServer, request as forward } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { loadClusterConfig } from '../../src/controller/kube-config.ts';

/** A request of the operator, as the proxy saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly isWatch: boolean;
}

/**
 * What happens to a request.
 * - drop-request: it never reaches the API server; the operator sees a reset.
 * - drop-response: the API server carries it out; the operator sees a reset.
 * - gone: a watch begins and says at once that its version is too old (410 in the stream).
 * - reply: the proxy answers itself, the API server never hears of it.
 */
export type Fault =
  | { readonly do: 'drop-request' | 'drop-response' | 'gone' }
  | {
      readonly do: 'reply';
      readonly status: number;
      readonly reason: string;
      readonly retryAfterSeconds?: number;
    };

export interface Rule {
  readonly matches: (request: Seen) => boolean;
  readonly fault: Fault;
  /** Called when the fault happens: before anything was sent for drop-request, after it was carried out for drop-response. */
  readonly onHit?: () => void;
}

/** A TLS proxy between the operator and a real API server, with a log of all that passed and rules that each fire once. */
export interface Proxy {
  /** For the operator; the proxy itself acts with the identity of the kubeconfig that it was given. */
  readonly kubeconfig: string;
  readonly log: readonly (Seen & { readonly status: number })[];
  /** The next request that matches meets the fault. */
  inject(rule: Rule): void;
  /** Resets every watch that is open now. */
  cutWatches(): void;
  close(): Promise<void>;
}

export async function startProxy(upstreamKubeconfig: string): Promise<Proxy> {
  const directory = await mkdtemp(join(tmpdir(), 'proxy-'));
  const { cert, key } = await throwAwayCertificate(directory);
  const connection = await loadClusterConfig({ kubeconfig: upstreamKubeconfig });
  const { ca, cert: clientCert, key: clientKey } = await connection.credentials();
  const agent = new Agent({ keepAlive: true, ca, cert: clientCert, key: clientKey });
  const state: State = { upstream: connection.server, agent, rules: [], log: [], watches: new Set() };
  const server = createServer({ cert, key }, (request, response) => {
    serve(state, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  const kubeconfig = join(directory, 'kubeconfig');
  await writeFile(kubeconfig, kubeconfigOf(`https://127.0.0.1:${address.port}`, cert));
  return {
    kubeconfig,
    log: state.log,
    inject: (rule) => void state.rules.push(rule),
    cutWatches: () => state.watches.forEach((response) => response.destroy()),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      agent.destroy();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

interface State {
  readonly upstream: string;
  readonly agent: Agent;
  readonly rules: Rule[];
  readonly log: (Seen & { status: number })[];
  readonly watches: Set<ServerResponse>;
}

async function throwAwayCertificate(directory: string): Promise<{ cert: string; key: string }> {
  const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const subject = ['-subj', '/CN=proxy', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '1', '-nodes'];
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    ...kind,
    ...subject,
    '-out',
    certFile,
    '-keyout',
    keyFile,
  ]);
  return { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') };
}

function kubeconfigOf(server: string, ca: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'proxy',
        cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') },
      },
    ],
    users: [{ name: 'nobody', user: {} }],
    contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'nobody' } }],
    'current-context': 'proxy',
  });
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '/';
  const seen: Seen = {
    method: request.method ?? 'GET',
    path,
    body: await bodyOf(request),
    isWatch: /[?&]watch=(1|true)/.test(path),
  };
  const at = state.rules.findIndex((rule) => rule.matches(seen));
  const rule = at < 0 ? undefined : state.rules.splice(at, 1)[0];
  if (rule && rule.fault.do !== 'drop-response') {
    rule.onHit?.();
    state.log.push({ ...seen, status: 0 });
    answer(rule.fault, response);
    return;
  }
  const upstream = await send(state, seen, request);
  state.log.push({ ...seen, status: upstream.statusCode ?? 0 });
  if (rule) {
    await bodyOf(upstream);
    rule.onHit?.();
    response.destroy();
    return;
  }
  pass(state, seen, { upstream, response });
}

function answer(fault: Fault, response: ServerResponse): void {
  if (fault.do === 'reply') {
    const retry =
      fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) };
    response.writeHead(fault.status, { 'content-type': 'application/json', ...retry });
    response.end(JSON.stringify(statusObject(fault.status, fault.reason)));
  } else if (fault.do === 'gone') {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify({ type: 'ERROR', object: statusObject(410, 'Expired') })}\n`);
  } else response.destroy();
}

function statusObject(code: number, reason: string): object {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    reason,
    code,
    message: `injected: ${reason}`,
  };
}

function send(state: State, seen: Seen, request: IncomingMessage): Promise<IncomingMessage> {
  const { host: _host, authorization: _authorization, ...headers } = request.headers;
  return new Promise((resolve, reject) => {
    const options = { method: seen.method, agent: state.agent, headers };
    const out = forward(new URL(seen.path, state.upstream), options, resolve);
    out.once('error', reject);
    out.end(seen.body);
  });
}

function pass(
  state: State,
  seen: Seen,
  { upstream, response }: { upstream: IncomingMessage; response: ServerResponse },
): void {
  response.writeHead(upstream.statusCode ?? 502, upstream.headers);
  if (seen.isWatch) {
    state.watches.add(response);
    response.once('close', () => {
      state.watches.delete(response);
      upstream.destroy();
    });
  }
  upstream.once('error', () => response.destroy());
  upstream.pipe(response);
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
