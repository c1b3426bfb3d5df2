import { createServer } from 'node:http';
import process from 'node:process';
import { OBSERVE_PORT } from '../../../src/api/keys.ts';

/** What answers at a pod's address when its agent hangs: it accepts every question and never says a word. */
export interface SilentPod {
  readonly ip: string;
  /** Questions so far, and those that somebody still waits for. */
  asked(): number;
  open(): number;
  close(): Promise<void>;
}

export async function startSilentPod(): Promise<SilentPod> {
  // Every address below 127 is this machine; one per process keeps parallel runs apart.
  const ip = `127.77.${(process.pid >> 8) & 255}.${process.pid & 255 || 1}`;
  let [asked, open] = [0, 0];
  const server = createServer((_request, response) => {
    asked += 1;
    open += 1;
    response.once('close', () => {
      open -= 1;
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(OBSERVE_PORT, ip, resolve);
  });
  return {
    ip,
    asked: () => asked,
    open: () => open,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
