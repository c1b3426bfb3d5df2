import { Agent, request } from 'undici';
import { retryAfterMs } from '../lib/retry-after.ts';
import { ElsiError } from './errors.ts';

export interface ExchangeOptions {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** From /api on. */
  readonly path: string;
  readonly body?: object;
  readonly token?: string;
  readonly signal: AbortSignal;
}

/** One request and its whole answer as JSON. Throws ElsiError for anything but a 2xx with JSON in it. */
export type Exchange = (options: ExchangeOptions) => Promise<unknown>;

/** The same, but the answer comes as bytes, for lists that need not fit into memory. */
export type Download = (options: ExchangeOptions, use: (chunk: Buffer) => void) => Promise<void>;

export interface Http {
  readonly exchange: Exchange;
  readonly download: Download;
  close(): Promise<void>;
}

export interface HttpOptions {
  readonly baseUrl: string;
  /** For a whole request, the answer included. */
  readonly timeoutMs: number;
  /** For a list, which may be long. */
  readonly listTimeoutMs: number;
  /** Largest list in bytes. */
  readonly maxListBytes: number;
  /** PEM of a private certificate authority. */
  readonly ca?: string | undefined;
  readonly userAgent: string;
  /** Told of every answer; code is <error> when there was none. */
  readonly onAnswer?: (method: string, code: string) => void;
}

const MAX_ANSWER_BYTES = 1024 * 1024;
/** Of an error page: read so that its connection ends well. */
const MAX_PAGE_BYTES = 65_536;
const CONNECT_MS = 5000;

/** The origin and prefix of an ELSI, whether the base URL ends in /api or not. */
export function rootOf(baseUrl: string): string {
  return baseUrl
    .replace(/\/+$/, '')
    .replace(/\/api$/, '')
    .replace(/\/+$/, '');
}

/** Connections of their own, with a bound on time and size for everything; redirects are not followed. */
export function createHttp(options: HttpOptions): Http {
  const agent = new Agent({
    connect: { timeout: CONNECT_MS, ...(options.ca ? { ca: options.ca } : {}) },
    headersTimeout: options.timeoutMs,
    bodyTimeout: options.timeoutMs,
    connections: 8,
  });
  return {
    async exchange(what) {
      const chunks: Buffer[] = [];
      const limits = { timeoutMs: options.timeoutMs, maxBytes: MAX_ANSWER_BYTES };
      await transfer({ options, agent, limits }, what, (chunk) => void chunks.push(chunk));
      return parse(what, Buffer.concat(chunks).toString());
    },
    download: (what, use) =>
      transfer(
        { options, agent, limits: { timeoutMs: options.listTimeoutMs, maxBytes: options.maxListBytes } },
        what,
        use,
      ),
    close: () => agent.destroy(),
  };
}

interface Line {
  readonly options: HttpOptions;
  readonly agent: Agent;
  readonly limits: { readonly timeoutMs: number; readonly maxBytes: number };
}

async function transfer(line: Line, what: ExchangeOptions, use: (chunk: Buffer) => void): Promise<void> {
  const { options, limits } = line;
  const signal = AbortSignal.any([what.signal, AbortSignal.timeout(limits.timeoutMs)]);
  try {
    await answered(line, what, { signal, use });
  } catch (error) {
    if (what.signal.aborted) throw what.signal.reason;
    if (error instanceof ElsiError) throw error;
    options.onAnswer?.(what.method, '<error>');
    const why = signal.aborted ? `within ${limits.timeoutMs} ms` : 'at all';
    throw new ElsiError(`${what.method} ${what.path}: ELSI did not answer ${why}`, { cause: error });
  }
}

async function answered(
  { options, agent, limits }: Line,
  { method, path, body, token }: ExchangeOptions,
  { signal, use }: { readonly signal: AbortSignal; readonly use: (chunk: Buffer) => void },
): Promise<void> {
  const {
    statusCode: status,
    headers,
    body: answer,
  } = await request(`${rootOf(options.baseUrl)}${path}`, {
    method,
    dispatcher: agent,
    signal,
    headers: {
      accept: 'application/json',
      'user-agent': options.userAgent,
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    },
    body: body ? JSON.stringify(body) : null,
  });
  options.onAnswer?.(method, String(status));
  if (status < 200 || status >= 300) {
    // What it says may hold anything, also a secret: only the number is told.
    await answer.dump({ limit: MAX_PAGE_BYTES }).catch(() => undefined);
    throw new ElsiError(`${method} ${path}: ELSI answered ${status}`, {
      status,
      retryAfterMs: retryAfterMs(headers['retry-after']),
    });
  }
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limits.maxBytes)
      throw new ElsiError(`${method} ${path}: the answer is longer than ${limits.maxBytes} bytes`, {
        status,
      });
    use(chunk);
  }
}

function parse({ method, path }: ExchangeOptions, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ElsiError(`${method} ${path}: the answer is no JSON`, { cause });
  }
}
