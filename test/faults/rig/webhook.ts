import { mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { throwAwayCertificate } from './certificate.ts';

/** An admission webhook on loopback, with a certificate of its own. */
export interface Webhook {
  readonly url: string;
  readonly caBundle: string;
  /** From now on every review is allowed; until then none is answered. */
  allow(): void;
  close(): Promise<void>;
}

const reviewed = z.object({ request: z.object({ uid: z.string() }) });

export async function startWebhook(): Promise<Webhook> {
  const directory = await mkdtemp(join(tmpdir(), 'webhook-'));
  const { cert, key } = await throwAwayCertificate(directory);
  let allows = false;
  const answer = (text: string, response: ServerResponse): void => {
    const { uid } = reviewed.parse(JSON.parse(text)).request;
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        response: { uid, allowed: true },
      }),
    );
  };
  const server = createServer({ cert, key }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.once('end', () => allows && answer(Buffer.concat(chunks).toString(), response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the webhook has no port');
  return {
    url: `https://127.0.0.1:${address.port}/`,
    caBundle: Buffer.from(cert).toString('base64'),
    allow: () => {
      allows = true;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(directory, { recursive: true, force: true });
    },
  };
}
