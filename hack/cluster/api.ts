import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { certFile, keyFile } from './pki.ts';

/** A minimal HTTPS client for the checks of `up`; everything else uses kubectl. */
export type ApiCall = {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly contentType?: string;
  readonly body?: unknown;
};

export type ApiAnswer = { readonly status: number; readonly body: string };

const CALL_TIMEOUT_MS = 10_000;

/** Calls an API server as the admin of `pkiDir`; rejects only when there is no answer within 10 s. */
export async function callApi(server: string, pkiDir: string, call: ApiCall): Promise<ApiAnswer> {
  const [ca, cert, key] = await Promise.all([
    readFile(certFile(pkiDir, 'ca')),
    readFile(certFile(pkiDir, 'admin')),
    readFile(keyFile(pkiDir, 'admin')),
  ]);
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(call.path, server),
      {
        ca,
        cert,
        key,
        agent: false,
        method: call.method ?? 'GET',
        headers: body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' },
        timeout: CALL_TIMEOUT_MS,
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
        );
        incoming.on('error', reject);
      },
    );
    outgoing.on('timeout', () =>
      outgoing.destroy(new Error(`no answer from ${server} within ${CALL_TIMEOUT_MS} ms`)),
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
