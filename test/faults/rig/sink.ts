import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import { messageOf } from '../../../src/controller/settle.ts';

const event = z.looseObject({
  id: z.string(),
  type: z.string(),
  sequence: z.string(),
  data: z.looseObject({ phase: z.string().optional(), message: z.string().optional() }),
});

/** One delivery, as it came over the wire. */
export interface Delivery {
  readonly event: z.output<typeof event>;
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  /** Monotonic ms at which it had come. */
  readonly atMs: number;
}

/** A receiver of callbacks, over a real socket; answers 401 to what the reference library does not verify. */
export interface Sink {
  /** Every delivery, repeated ones too. */
  readonly deliveries: readonly Delivery[];
  /** Ids of the events that it answered with a success. */
  readonly accepted: ReadonlySet<string>;
  /** Why deliveries were refused. */
  readonly refused: readonly string[];
  /** How it answers from now on. @default 204 */
  answer(how: (response: ServerResponse, delivery: Delivery) => void): void;
  /** Configuration of an operator with this receiver as the endpoint `lab`, or under another name. */
  config(change?: object, name?: string): { readonly callbacks: Readonly<Record<string, object>> };
  /** The secret with which it verifies from now on. */
  trust(secret: string): void;
  /** Secrets in the files of the operator. */
  mount(secrets: { readonly secret: string; readonly previous?: string }): Promise<void>;
  readonly secret: string;
  readonly url: string;
  /** Nobody listens on its port any more. */
  down(): Promise<void>;
  /** It listens again, on the same port. */
  up(): Promise<void>;
}

export const taken = (response: ServerResponse): void => void response.writeHead(204).end();
export const says =
  (status: number, headers: Readonly<Record<string, string>> = {}) =>
  (response: ServerResponse): void =>
    void response.writeHead(status, headers).end();

export const aSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;

interface State {
  readonly deliveries: Delivery[];
  readonly accepted: Set<string>;
  readonly refused: string[];
  answer: Parameters<Sink['answer']>[0];
  trusted: string;
}

/** Listens on an address of this machine; pods do not reach its loopback. */
export async function openSink(host = '127.0.0.1'): Promise<Sink> {
  const directory = await mkdtemp(join(tmpdir(), 'sink-'));
  const secret = aSecret();
  const state: State = { deliveries: [], accepted: new Set(), refused: [], answer: taken, trusted: secret };
  const server = createServer((request, response) => void receive(state, request, response));
  const port = await listen(server, host, 0);
  const mount: Sink['mount'] = async (secrets) => {
    for (const name of ['secret', 'previous'] as const)
      await writeFile(join(directory, name), secrets[name] ?? '');
  };
  await mount({ secret });
  const url = `http://${host}:${port}/hook`;
  const endpoint = {
    url,
    secretDirectory: directory,
    allowHttp: true,
    allowPrivateAddresses: true,
    timeoutSeconds: 2,
    events: ['started', 'succeeded', 'partiallySucceeded', 'failed', 'cancelled'],
  };
  return {
    deliveries: state.deliveries,
    accepted: state.accepted,
    refused: state.refused,
    secret,
    url,
    answer: (how) => void (state.answer = how),
    config: (change = {}, name = 'lab') => ({ callbacks: { [name]: { ...endpoint, ...change } } }),
    trust: (trusted) => void (state.trusted = trusted),
    mount,
    down: () => close(server),
    up: async () => void (await listen(server, host, port)),
  };
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const address = server.address();
  return typeof address === 'object' && address ? address.port : port;
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

async function receive(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
    assert.equal(headers['content-length'], String(body.length));
    const verified = event.parse(new Webhook(state.trusted).verify(body, headers));
    assert.equal(headers['webhook-id'], verified.id);
    const delivery = { event: verified, body, headers, atMs: performance.now() };
    state.deliveries.push(delivery);
    response.once('close', () => {
      if (response.headersSent && response.statusCode < 300) state.accepted.add(verified.id);
    });
    state.answer(response, delivery);
  } catch (error) {
    state.refused.push(messageOf(error));
    says(401)(response);
  }
}

/** Types of the deliveries, the last word of each. */
export const wordsOf = (deliveries: readonly Delivery[]): string[] =>
  deliveries.map(({ event: { type } }) => type.split('.').at(-1) ?? '');
/** Ids of the deliveries, in the order of their first coming. */
export const idsOf = (deliveries: readonly Delivery[]): string[] => [
  ...new Set(deliveries.map(({ event: { id } }) => id)),
];
