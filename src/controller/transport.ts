import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { backoffMs } from '../lib/backoff.ts';
import { ApiError, BodyTooLargeError, isTooMany, UnreachableError } from './api-error.ts';
import type { Clock } from './clock.ts';
import { delay, reasonOf, systemClock } from './clock.ts';
import type { ClusterConnection, Credentials } from './kube-config.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { PoolName, PoolSet } from './pools.ts';
import { openPools, retirePools, tlsFingerprint } from './pools.ts';
import { failureOf, isUntrusted, statusErrorOf } from './response.ts';
import { mayRetry } from './retry.ts';
import { createServerClock, type ServerClock } from './server-clock.ts';

/** A watch has its own connection, see {@link Transport.stream}. */
export type CallPool = Exclude<PoolName, 'watch'>;
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  readonly method: Method;
  /** Absolute path on the API server, already encoded. */
  readonly path: string;
  readonly query?: Query | undefined;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** @default application/json */
  readonly contentType?: string;
  readonly accept?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whole call with its retries. @default 30 000, 5 000 on the lease pool */
  readonly timeoutMs?: number | undefined;
  /** @default request */
  readonly pool?: CallPool;
  /** Asked before each try; what it throws ends the call, unsent. */
  readonly guard?: () => void;
}

export interface StreamOptions {
  readonly path: string;
  readonly query?: Query;
  readonly signal: AbortSignal;
}

/**
 * JSON calls to the API server.
 *
 * Reads are retried on lost connections, 429, 500, 502, 503 and 504. Writes are retried only when the server surely
 * did nothing: no connection, 401 once with a fresh token, 429, and 503 that carries Retry-After. Any other lost write
 * throws UnknownOutcomeError, so that the caller reads again before acting.
 *
 * A 429 with Retry-After holds back every call until then, whoever it was told: the server is busy, not the caller.
 * Calls of the lease pool are neither held back nor heeded; a deadline that ends earlier throws UnreachableError.
 */
export interface Transport {
  /** The parsed answer; undefined for an empty one. Throws ApiError, UnknownOutcomeError, UnreachableError or the signal's reason. */
  request<T>(options: RequestOptions): Promise<T>;
  /** A streamed answer on a connection of its own; cut after `watchIdleMs` without a byte, and at once when `signal` aborts. */
  stream(options: StreamOptions): Promise<Readable>;
  /** Monotonic ms of the last answer of any kind, for health checks. */
  lastContactMs(): number;
  /** The API server's time, see {@link createServerClock}. */
  now(): Date;
  close(): Promise<void>;
}

export interface TransportOptions {
  readonly log?: Log;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** @default 24 */
  readonly connections?: number;
  /** @default 64 MiB */
  readonly maxResponseBytes?: number;
  /** The server itself refuses more. @default 3 MiB */
  readonly maxRequestBytes?: number;
  /** A watch without a byte for so long is dead. @default 150 000 */
  readonly watchIdleMs?: number;
  /** Tries per call, the first included. @default 5 */
  readonly maxTries?: number;
  readonly userAgent?: string;
}

const DEADLINE_MS = { request: 30_000, lease: 5_000 };
/** Of an error page in answer to a watch; the pool of watches has no bound of its own. */
const ERROR_BODY_BYTES = 65_536;
const RETRY = { baseMs: 100, maxMs: 5_000 };
/** A clock that is off by more deserves a word to whoever runs the machine. */
const SKEW_MS = 30_000;
/** Longest pause of all calls: one wrong Retry-After must not silence the process for hours. */
const MAX_PAUSE_MS = 60_000;

/** Opens connection pools to one cluster; close them with `close()`. */
export function createTransport(connection: ClusterConnection, options: TransportOptions = {}): Transport {
  return new UndiciTransport(connection, options);
}

interface Prepared {
  readonly method: Method;
  readonly path: string;
  readonly pool: PoolName;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
  readonly guard: (() => void) | undefined;
}

class UndiciTransport implements Transport {
  readonly #connection: ClusterConnection;
  readonly #log: Log;
  readonly #metrics: Metrics | undefined;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #options: Required<
    Pick<
      TransportOptions,
      'connections' | 'maxResponseBytes' | 'maxRequestBytes' | 'watchIdleMs' | 'maxTries' | 'userAgent'
    >
  >;
  readonly #origin: string;
  readonly #prefix: string;
  readonly #host: string;
  #pools: PoolSet | undefined;
  #fingerprint = '';
  readonly #serverClock: ServerClock;
  #lastContactMs = 0;
  #toldSkew = false;
  #pausedUntilMs = 0;
  #closed = false;

  constructor(
    connection: ClusterConnection,
    { log = silentLog, metrics, clock = systemClock, random = Math.random, ...options }: TransportOptions,
  ) {
    const url = new URL(connection.server);
    this.#connection = connection;
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#random = random;
    this.#serverClock = createServerClock(clock);
    this.#options = {
      connections: options.connections ?? 24,
      maxResponseBytes: options.maxResponseBytes ?? 64 * 2 ** 20,
      maxRequestBytes: options.maxRequestBytes ?? 3 * 2 ** 20,
      watchIdleMs: options.watchIdleMs ?? 150_000,
      maxTries: options.maxTries ?? 5,
      userAgent: options.userAgent ?? 'analysis-operator',
    };
    this.#origin = url.origin;
    this.#prefix = url.pathname.replace(/\/$/, '');
    this.#host = url.host;
  }

  lastContactMs(): number {
    return this.#lastContactMs;
  }

  now(): Date {
    return this.#serverClock.now();
  }

  async request<T>(options: RequestOptions): Promise<T> {
    const { signal, pool = 'request', timeoutMs = DEADLINE_MS[pool] } = options;
    signal?.throwIfAborted();
    const call = new AbortController();
    const deadline = this.#clock.monotonicMs() + timeoutMs;
    const timer = this.#clock.setTimeout(
      () => call.abort(new DOMException(`no answer within ${timeoutMs} ms`, 'TimeoutError')),
      timeoutMs,
    );
    const onAbort = (): void => call.abort(signal ? reasonOf(signal) : undefined);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await this.#withRetries<T>(this.#prepare(options, pool, call.signal), deadline, signal);
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async stream({ path, query, signal }: StreamOptions): Promise<Readable> {
    signal.throwIfAborted();
    const prepared = this.#prepare({ method: 'GET', path, query }, 'watch', signal);
    try {
      const response = await this.#authorized(prepared);
      if (response.statusCode === 200) return response.body;
      throw statusErrorOf('GET', path, response, await textWithin(response.body, ERROR_BODY_BYTES));
    } catch (error) {
      throw failureOf(error, 'GET', path, signal);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const pools = this.#pools;
    this.#pools = undefined;
    if (pools) await Promise.allSettled(Object.values(pools).map((pool) => pool.destroy()));
  }

  #prepare(options: RequestOptions, pool: PoolName, signal: AbortSignal): Prepared {
    const {
      method,
      path,
      query,
      body,
      contentType = 'application/json',
      accept = 'application/json',
    } = options;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const bytes = text === undefined ? 0 : Buffer.byteLength(text);
    if (bytes > this.#options.maxRequestBytes) {
      throw new BodyTooLargeError(
        `${method} ${path}: the body has ${bytes} bytes; at most ${this.#options.maxRequestBytes} are allowed`,
      );
    }
    const headers: Record<string, string> = { accept, 'user-agent': this.#options.userAgent };
    if (text !== undefined) headers['content-type'] = contentType;
    const full = `${this.#prefix}${path}${queryOf(query)}`;
    return { method, path: full, pool, headers, body: text, signal, guard: options.guard };
  }

  async #withRetries<T>(prepared: Prepared, deadline: number, signal: AbortSignal | undefined): Promise<T> {
    const tries = prepared.pool === 'lease' ? 1 : this.#options.maxTries;
    for (let attempt = 0; ; attempt++) {
      await this.#pauseOver(prepared, deadline);
      prepared.guard?.();
      try {
        return await this.#once<T>(prepared);
      } catch (cause) {
        const error = failureOf(cause, prepared.method, prepared.path, signal);
        this.#heed(prepared, error);
        const waitMs = Math.max(backoffMs(attempt, RETRY, this.#random), retryAfterOf(error));
        const isLast = attempt + 1 >= tries || this.#clock.monotonicMs() + waitMs >= deadline;
        if (isLast || !mayRetry(prepared.method, error)) throw error;
        if (this.#log.isDebugEnabled()) this.#log.debug('Retrying API call', { error, waitMs });
        await delay(this.#clock, waitMs, prepared.signal).catch(() => {
          throw signal?.aborted ? reasonOf(signal) : error;
        });
      }
    }
  }

  #heed({ pool }: Prepared, error: Error): void {
    if (pool === 'lease' || !isTooMany(error)) return;
    const untilMs = this.#clock.monotonicMs() + Math.min(retryAfterOf(error), MAX_PAUSE_MS);
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, untilMs);
  }

  async #pauseOver({ method, path, pool, signal }: Prepared, deadline: number): Promise<void> {
    const waitMs = this.#pausedUntilMs - this.#clock.monotonicMs();
    if (pool === 'lease' || waitMs <= 0) return;
    if (this.#pausedUntilMs >= deadline) {
      const seconds = Math.ceil(waitMs / 1000);
      throw new UnreachableError(
        `${method} ${path} was not sent: the API server wants a pause of ${seconds} s`,
      );
    }
    await delay(this.#clock, waitMs, signal);
  }

  async #once<T>(prepared: Prepared): Promise<T> {
    const response = await this.#authorized(prepared);
    const text = await response.body.text();
    if (response.statusCode >= 300) throw statusErrorOf(prepared.method, prepared.path, response, text);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** A 401 or a certificate that is not trusted means nothing was done: once more with what the files say now. */
  async #authorized(prepared: Prepared): Promise<Dispatcher.ResponseData> {
    const response = await this.#dispatch(prepared, await this.#connection.credentials()).catch(
      unlessUntrusted,
    );
    if (response && response.statusCode !== 401) return response;
    await response?.body.dump();
    return this.#dispatch(prepared, await this.#connection.credentials({ fresh: true }));
  }

  async #dispatch(
    { method, path, pool, headers, body, signal }: Prepared,
    credentials: Credentials,
  ): Promise<Dispatcher.ResponseData> {
    const { token } = credentials;
    const sent = token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` };
    const sentMs = this.#clock.monotonicMs();
    try {
      signal.throwIfAborted();
      const response = await this.#poolsFor(credentials)[pool].request({
        method,
        path,
        headers: sent,
        body: body ?? null,
        signal,
      });
      this.#lastContactMs = this.#clock.monotonicMs();
      this.#serverClock.note(response.headers['date'], sentMs, this.#lastContactMs);
      this.#tellSkew();
      this.#metrics?.request(method, String(response.statusCode), this.#host);
      return response;
    } catch (error) {
      this.#metrics?.request(method, '<error>', this.#host);
      throw error;
    }
  }

  #tellSkew(): void {
    const skewMs = this.#serverClock.skewMs();
    if (this.#toldSkew || Math.abs(skewMs) < SKEW_MS) return;
    this.#toldSkew = true;
    const aheadSeconds = Math.round(skewMs / 1000);
    this.#log.warn("The clock of this machine is not the API server's; set it by NTP", { aheadSeconds });
  }

  /** Rotated certificates need new connections; calls in flight finish on the old ones. */
  #poolsFor(credentials: Credentials): PoolSet {
    if (this.#closed) throw new Error('The transport is closed');
    const fingerprint = tlsFingerprint(credentials);
    if (this.#pools && fingerprint === this.#fingerprint) return this.#pools;
    const retired = this.#pools;
    this.#fingerprint = fingerprint;
    this.#pools = openPools(this.#origin, credentials, this.#options);
    if (retired) {
      this.#log.info('TLS material changed, opening new connections');
      void retirePools(retired);
    }
    return this.#pools;
  }
}

function unlessUntrusted(error: unknown): undefined {
  if (!isUntrusted(error)) throw error;
}

async function textWithin(body: Readable, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxBytes) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

function queryOf(query: Query | undefined): string {
  if (!query) return '';
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) params.set(name, String(value));
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

const retryAfterOf = (error: Error): number => (error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0);
