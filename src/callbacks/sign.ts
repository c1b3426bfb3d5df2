import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';

/** Secrets of one endpoint, the newest first: two while they are being rotated. */
export type Secrets = readonly string[];

/**
 * Reads the files `secret` and, while it is rotated, `previous` of a directory (a mounted Secret), anew for each delivery.
 * Throws when there is no secret: an unsigned event is never sent.
 */
export async function readSecrets(directory: string): Promise<Secrets> {
  const read = (name: string): Promise<string> =>
    readFile(join(directory, name), 'utf8').then(
      (text) => text.trim(),
      (error: unknown) => {
        // Signing with `previous` alone because `secret` cannot be read just now would fail where it was dropped.
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
        throw error;
      },
    );
  const secrets = [await read('secret'), await read('previous')].filter((secret) => secret !== '');
  if (secrets.length === 0)
    throw new Error('the endpoint has no secret: its directory needs a file "secret" (whsec_...)');
  return secrets;
}

/** Headers of Standard Webhooks for exactly these bytes: one signature for each secret. */
export function signatureHeaders(
  id: string,
  at: Date,
  body: string,
  secrets: Secrets,
): Record<string, string> {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  };
}
