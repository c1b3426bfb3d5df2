import { mkdtemp, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';

/** A secret that must never be seen anywhere but in its file. */
const SECRET = `whsec_${Buffer.from('canary-hook-never-to-be-seen').toString('base64')}`;

const event = z.looseObject({ id: z.string(), type: z.string(), sequence: z.string() });
export type SinkEvent = z.output<typeof event>;

/** A receiver of callbacks, over a real socket; refuses what the reference library does not verify. */
export interface Sink {
  /** Every delivery, repeated ones too. */
  readonly events: readonly SinkEvent[];
  /** How it answers from now on. @default 204 */
  answer(how: (response: ServerResponse, event: SinkEvent) => void): void;
  /** Configuration of an operator with this receiver as the endpoint `lab`. */
  config(change?: object): Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

export const taken = (response: ServerResponse): void => void response.writeHead(204).end();

export async function openSink(): Promise<Sink> {
  const directory = await mkdtemp(join(tmpdir(), 'sink-'));
  await writeFile(join(directory, 'secret'), SECRET);
  const events: SinkEvent[] = [];
  let answer: Parameters<Sink['answer']>[0] = taken;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
      const got = event.parse(new Webhook(SECRET).verify(Buffer.concat(chunks), headers));
      events.push(got);
      answer(response, got);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/hook`;
  const endpoint = {
    url,
    secretDirectory: directory,
    allowHttp: true,
    allowPrivateAddresses: true,
    timeoutSeconds: 2,
  };
  const all = ['started', 'succeeded', 'partiallySucceeded', 'failed', 'cancelled'];
  return {
    events,
    answer: (how) => {
      answer = how;
    },
    config: (change = {}) => ({ callbacks: { lab: { ...endpoint, events: all, ...change } } }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
