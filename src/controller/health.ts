import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { Registry } from 'prom-client';
import { messageOf } from './settle.ts';

/** Returns or resolves when all is well; throws with a sentence when not. */
export type HealthCheck = () => void | Promise<void>;
export type HealthChecks = Readonly<Record<string, HealthCheck>>;

export interface HealthOptions {
  /** @default all addresses, IPv4 and IPv6 */
  readonly host?: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Failing means restart me. */
  readonly livez?: HealthChecks;
  /** Failing means do not count on me yet. */
  readonly readyz?: HealthChecks;
  readonly registry?: Registry;
}

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

const CHECK_MS = 2_000;

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly text: string;
}

/** Serves /livez, /readyz (each with ?verbose) and /metrics. */
export async function startHealthServer(options: HealthOptions): Promise<HealthServer> {
  const server = createServer((request, response) => void respond(options, request, response));
  server.requestTimeout = 5_000;
  server.maxHeadersCount = 50;
  await listen(server, options);
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : options.port;
  return { port, close: () => close(server) };
}

function listen(server: Server, { host, port }: HealthOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

async function respond(
  options: HealthOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { code, type, text } = await answer(options, request).catch((error: unknown) =>
    plain(500, messageOf(error)),
  );
  response.writeHead(code, { 'content-type': type, 'cache-control': 'no-store' });
  response.end(request.method === 'HEAD' ? undefined : text);
}

async function answer(
  { livez = {}, readyz = {}, registry }: HealthOptions,
  { method, url }: IncomingMessage,
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'only GET and HEAD are allowed');
  const { pathname, searchParams } = new URL(url ?? '/', 'http://localhost');
  switch (pathname) {
    case '/livez':
      return checked(livez, searchParams.has('verbose'));
    case '/readyz':
      return checked(readyz, searchParams.has('verbose'));
    case '/metrics':
      return registry
        ? { code: 200, type: registry.contentType, text: await registry.metrics() }
        : plain(404, 'no metrics here');
    default:
      return plain(404, 'there are /livez, /readyz and /metrics');
  }
}

async function checked(checks: HealthChecks, verbose: boolean): Promise<Answer> {
  const results = await Promise.all(Object.entries(checks).map(([name, check]) => runCheck(name, check)));
  const isHealthy = results.every(({ ok }) => ok);
  const shown = results
    .filter(({ ok }) => verbose || !ok)
    .map(({ ok, text }) => `[${ok ? '+' : '-'}]${text}`);
  return plain(isHealthy ? 200 : 503, [...shown, isHealthy ? 'ok' : 'failed'].join('\n'));
}

async function runCheck(
  name: string,
  check: HealthCheck,
): Promise<{ readonly ok: boolean; readonly text: string }> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_MS} ms`)), CHECK_MS);
  });
  try {
    await Promise.race([check(), timeout]);
    return { ok: true, text: `${name} ok` };
  } catch (error) {
    return { ok: false, text: `${name} failed: ${messageOf(error)}` };
  } finally {
    clearTimeout(timer);
  }
}

const plain = (code: number, text: string): Answer => ({
  code,
  type: 'text/plain; charset=utf-8',
  text: `${text}\n`,
});
