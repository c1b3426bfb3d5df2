import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { parse } from 'yaml';
import { z } from 'zod';

/** What the server answered; `body` is parsed JSON. */
export type Answer = { readonly status: number; readonly body: unknown };

type Options = { readonly body?: unknown; readonly contentType?: string; readonly accept?: string };

/** A bare client: tests see exactly what the server answers. */
export type Api = {
  readonly call: (
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    options?: Options,
  ) => Promise<Answer>;
  readonly close: () => Promise<void>;
};

const TIMEOUT_MS = 30_000;

const kubeconfig = z.object({
  clusters: z.tuple([
    z.object({
      cluster: z.object({
        server: z.string(),
        'certificate-authority-data': z.string().optional(),
        'certificate-authority': z.string().optional(),
      }),
    }),
  ]),
  users: z.tuple([
    z.object({
      user: z.object({
        token: z.string().optional(),
        'client-certificate-data': z.string().optional(),
        'client-key-data': z.string().optional(),
        'client-certificate': z.string().optional(),
        'client-key': z.string().optional(),
      }),
    }),
  ]),
});

/** Connects as the one user of a kubeconfig with one cluster. */
export async function apiClient(file: string): Promise<Api> {
  const { clusters, users } = kubeconfig.parse(parse(await readFile(file, 'utf8')));
  const { cluster } = clusters[0];
  const { user } = users[0];
  const [ca, cert, key] = await Promise.all([
    pem(cluster['certificate-authority-data'], cluster['certificate-authority']),
    pem(user['client-certificate-data'], user['client-certificate']),
    pem(user['client-key-data'], user['client-key']),
  ]);
  const connect = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  const dispatcher = new Agent({
    connect,
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
    allowH2: false,
  });
  const authorization = user.token === undefined ? {} : { authorization: `Bearer ${user.token}` };
  return {
    call: async (
      method,
      path,
      { body, contentType = 'application/json', accept = 'application/json' } = {},
    ) => {
      const answer = await request(new URL(path, cluster.server), {
        method,
        dispatcher,
        headers: { ...authorization, accept, 'content-type': contentType },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: answer.statusCode, body: parseJson(await answer.body.text()) };
    },
    close: () => dispatcher.close(),
  };
}

async function pem(data: string | undefined, path: string | undefined): Promise<string | undefined> {
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  return path === undefined ? undefined : readFile(path, 'utf8');
}

/** The first answers of a starting server are plain text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const failure = z.object({
  kind: z.literal('Status'),
  reason: z.string().optional(),
  message: z.string(),
  details: z
    .object({
      causes: z
        .array(
          z.object({
            reason: z.string().optional(),
            field: z.string().optional(),
            message: z.string().optional(),
          }),
        )
        .optional(),
    })
    .optional(),
});
/** A refusal as the server explains it: one cause per wrong field. */
export type Failure = z.infer<typeof failure>;

/** The explanation in an answer that refuses; throws when the request was accepted. */
export function failureOf(answer: Answer): Failure {
  if (answer.status < 400)
    throw new Error(`the server accepted it: ${JSON.stringify(answer.body).slice(0, 500)}`);
  return failure.parse(answer.body);
}
