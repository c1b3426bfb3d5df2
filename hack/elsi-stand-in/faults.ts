import type { ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { z } from 'zod';

/** Which requests of the contract a fault is for. */
const OPERATIONS = ['login', 'list', 'get', 'put'] as const;
export type Operation = (typeof OPERATIONS)[number];

/**
 * What goes wrong.
 * - status: an error answer, as JSON that repeats what was sent or as the page of a web server
 * - page: 200 with a page in it, as a proxy answers
 * - hang: no answer, to a request that was carried out (after) or not; half: an answer that breaks off in the middle
 * - reset: the connection breaks before anything was done, or after it was done
 * - delay: late, but right
 * - items: the list is another one (raw values, also nonsense); many: so many copies of a task
 * - gzip: a list of so many bytes, compressed, whoever asked for it
 * - bytes: the list is an array that never ends, up to so many bytes
 * - token: the answer of a login with another lifetime
 */
export const fault = z.strictObject({
  on: z.enum(OPERATIONS),
  uid: z.string().optional().describe('only requests for this task'),
  times: z.int().min(1).default(1),
  do: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('status'),
      status: z.int(),
      page: z.boolean().default(false),
      retryAfter: z.int().optional(),
    }),
    z.strictObject({ kind: z.literal('page') }),
    z.strictObject({ kind: z.literal('hang'), after: z.boolean().default(false) }),
    z.strictObject({ kind: z.literal('half') }),
    z.strictObject({ kind: z.literal('reset'), after: z.boolean().default(false) }),
    z.strictObject({ kind: z.literal('delay'), ms: z.int().min(0) }),
    z.strictObject({ kind: z.literal('items'), items: z.array(z.unknown()) }),
    z.strictObject({ kind: z.literal('many'), count: z.int().min(1) }),
    z.strictObject({ kind: z.literal('gzip'), bytes: z.int().min(2) }),
    z.strictObject({ kind: z.literal('bytes'), bytes: z.int().min(1) }),
    z.strictObject({ kind: z.literal('token'), expiresIn: z.unknown() }),
  ]),
});
export type FaultInput = z.input<typeof fault>;
export type Fault = z.output<typeof fault>;

/** Faults in force, each used up after its times. */
export class FaultBook {
  #faults: { readonly fault: Fault; left: number }[] = [];

  add(input: FaultInput): void {
    const parsed = fault.parse(input);
    this.#faults.push({ fault: parsed, left: parsed.times });
  }

  clear(): void {
    this.#faults = [];
  }

  /** Those that nothing has run into yet. */
  get unused(): readonly Fault[] {
    return this.#faults.filter(({ left }) => left > 0).map((entry) => entry.fault);
  }

  take(operation: Operation, uid: string | undefined): Fault['do'] | undefined {
    const entry = this.#faults.find(
      ({ fault: { on, uid: only }, left }) =>
        left > 0 && on === operation && (only === undefined || only === uid),
    );
    if (entry) entry.left -= 1;
    return entry?.fault.do;
  }
}

/** An answer before it is sent. A `page` is what a web server says: what a client that expects JSON must survive. */
export interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly page?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

export const page = (status: number, headers: Reply['headers'] = {}): Reply => ({
  status,
  page: true,
  headers,
});
export const json = (status: number, body: unknown): Reply => ({ status, body });

export function send(
  response: ServerResponse,
  { status, body, page: isPage = false, headers = {} }: Reply,
): void {
  const text = isPage
    ? `<!doctype html>\n<title>${status}</title>\n<h1>${status}</h1>\n`
    : JSON.stringify(body);
  const type = isPage ? 'text/html; charset=utf-8' : 'application/json';
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

const compress = promisify(gzip);

/** A list of blanks that is small on the wire. */
export async function sendCompressed(response: ServerResponse, bytes: number): Promise<void> {
  const list = Buffer.alloc(bytes, ' ');
  list.write('[');
  list.write(']', bytes - 1);
  const body = await compress(list, { level: 1 });
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    'content-length': body.length,
  });
  response.end(body);
}

/** An array that goes on until `bytes` were sent or the client has had enough. */
export function sendEndless(response: ServerResponse, item: unknown, bytes: number): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  const chunk = `${Array.from({ length: 500 }, () => JSON.stringify(item)).join(',')},`;
  let sent = 1;
  response.write('[');
  const more = (): void => {
    while (sent < bytes && !response.destroyed) {
      sent += chunk.length;
      if (!response.write(chunk)) {
        response.once('drain', more);
        return;
      }
    }
    if (!response.destroyed) response.end(`${JSON.stringify(item)}]`);
  };
  more();
}
