/** A client of the queues of a worker, as bare as a test may need it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface TestClient extends Disposable {
  readonly socket: Socket;
  /** Sends bytes as they are. */
  readonly send: (bytes: string) => void;
  /** Sends a command. */
  readonly say: (...args: readonly string[]) => void;
  /** All that was received, once it ends with `end`; rejects when the connection ends before. */
  readonly heard: (end: string) => Promise<string>;
}

export async function redisClient(port: number): Promise<TestClient> {
  const socket = connect({ host: '127.0.0.1', port });
  let received = '';
  socket.on('data', (chunk) => (received += chunk.toString()));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const send = (bytes: string): void => void socket.write(bytes);
  return {
    socket,
    send,
    say: (...args) =>
      send(`*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`),
    heard: async (end) => {
      while (!received.endsWith(end)) {
        if (socket.destroyed || socket.readableEnded)
          throw new Error(`the connection ended after ${JSON.stringify(received)}`);
        // oxlint-disable-next-line no-await-in-loop -- until it is there; the test's deadline bounds it
        await Promise.race([once(socket, 'data'), once(socket, 'close')]);
      }
      const answer = received;
      received = '';
      return answer;
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}
