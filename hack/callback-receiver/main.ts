import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import process from 'node:process';
import { Webhook } from 'standardwebhooks';
import { type Received, verified } from './received.ts';

/*
 * Takes callbacks as the system of a laboratory would, for demo and tests: verifies each with the reference library, drops
 * what it has seen and lists the rest under GET /received. `main.ts PORT SECRET-FILE`.
 */
const [port = '8090', secretFile = ''] = process.argv.slice(2);
const webhook = new Webhook(readFileSync(secretFile, 'utf8').trim());
const received = new Map<string, Received>();
const MAX_BYTES = 65_536;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error('the body is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function take(request: IncomingMessage): Promise<number> {
  try {
    const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
    const event = verified.parse(webhook.verify(await bodyOf(request), headers));
    const isNew = !received.has(event.id);
    if (isNew) received.set(event.id, event);
    console.log(`${isNew ? 'took' : 'had'} ${event.id} ${event.type} ${event.data.task.name}`);
    return 204;
  } catch (error) {
    console.log(`refused: ${String(error)}`);
    return 401;
  }
}

const server = createServer((request, response) => {
  if (request.method === 'POST') {
    void take(request).then((status) => response.writeHead(status).end());
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify([...received.values()]));
});
server.listen(Number(port), '0.0.0.0');
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    server.closeAllConnections();
    server.close();
  });
