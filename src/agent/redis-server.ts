/** Accepts a worker's connections on the loopback of its pod. */
import type { Server, Socket } from 'node:net';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Session } from './redis-session.ts';
import { CommandReader, encode, error, ProtocolError } from './resp.ts';
import type { Queues } from './worker-desk.ts';

const MAX_CONNECTIONS = 32;

/** Disposed of, it ends all connections. */
export interface RedisServer extends Disposable {
  readonly port: number;
}

/** Serves until it is disposed of. Throws when the address is taken. */
export async function serveRedis(
  queues: Queues,
  listen: { readonly host: string; readonly port: number },
): Promise<RedisServer> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    // A worker that goes away in the middle of something is no event: publish judges what it left.
    socket.on('error', () => socket.destroy());
    void converse(queues, socket).catch(() => socket.destroy());
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(listen);
  await once(server, 'listening');
  return {
    port: portOf(server),
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : 0;
}

/** One command after the other; the next is read when the answer to the last is on its way, so nothing piles up. */
async function converse(queues: Queues, socket: Socket): Promise<void> {
  const session = new Session(queues);
  const reader = new CommandReader();
  try {
    // Not the plain loop, which would close the connection before a fault could be told.
    const chunks: AsyncIterable<Buffer> = socket.iterator({ destroyOnReturn: false });
    for await (const chunk of chunks) {
      for (const command of reader.read(chunk)) await say(socket, await session.answer(command));
    }
  } catch (problem) {
    if (!(problem instanceof ProtocolError)) throw problem;
    socket.end(encode(error(`Protocol error: ${problem.message}`), session.version));
    socket.destroySoon();
  }
}

async function say(socket: Socket, text: string): Promise<void> {
  if (!socket.write(text)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
}
