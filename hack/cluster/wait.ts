import { connect } from 'node:net';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Asks `check` every `everyMs` until it answers true; after `limitMs` it fails with `what` and the hint. */
export async function waitFor(
  what: string,
  check: () => Promise<boolean>,
  options: { readonly limitMs: number; readonly everyMs?: number; readonly hint?: string },
): Promise<void> {
  const deadline = Date.now() + options.limitMs;
  while (Date.now() < deadline) {
    if (await check().catch(() => false)) return;
    await sleep(options.everyMs ?? 100);
  }
  const hint = options.hint === undefined ? '' : `; ${options.hint}`;
  throw new Error(`${what}: not so after ${options.limitMs / 1000} s${hint}`);
}

/** Whether something accepts connections at a unix socket path. */
export function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A TCP port that is free now: the preferred one if possible, else one from the kernel. */
export async function freePort(preferred = 0): Promise<number> {
  return (
    (await tryListen(preferred)) ?? (await tryListen(0)) ?? Promise.reject(new Error('no free TCP port'))
  );
}

function tryListen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}
