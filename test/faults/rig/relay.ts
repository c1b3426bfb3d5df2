import { connect, createServer, type Socket } from 'node:net';

/** A line to a server that one process has for itself, so that what it sends can be told from what others send. */
export interface Relay {
  readonly url: string;
  /** Requests of this method that were sent over it so far. */
  sent(method: string): number;
  close(): Promise<void>;
}

export async function startRelay(target: string): Promise<Relay> {
  const { hostname, port } = new URL(target);
  const lines: string[] = [];
  const open = new Set<Socket>();
  const server = createServer((from) => {
    const to = connect({ host: hostname, port: Number(port) });
    from.on('data', (chunk: Buffer) => lines.push(chunk.toString('latin1')));
    for (const [one, other] of [[from, to] as const, [to, from] as const]) {
      open.add(one);
      one.on('error', () => other.destroy());
      one.once('close', () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    sent: (method) => lines.join('').split(`${method} /`).length - 1,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
