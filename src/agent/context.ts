import { readFile } from 'node:fs/promises';
import { agentRequest } from '../api/request.ts';
import type { AgentRequest } from '../api/request.ts';
import { AgentFailure, shown } from './failure.ts';

/** Where a step finds things and to whom it speaks; tests put temp directories here. */
export interface AgentOptions {
  readonly requestFile: string;
  /** Root of the store as prepare and publish see it. */
  readonly storeRoot: string;
  /** This pod's staging directory as observe sees it. */
  readonly stagingRoot: string;
  /** Paths inside the model's container. */
  readonly dataMount: string;
  readonly outMount: string;
  readonly podUid: string;
  readonly podName: string;
  readonly node: string;
  readonly terminationLog: string;
  /** Aborted on SIGTERM. Only observe listens: prepare and publish may be killed at any moment. */
  readonly signal: AbortSignal;
  /** One line for people. */
  readonly log: (line: string) => void;
  readonly now: () => Date;
  /** observe: where it listens; on all addresses without a host. Port 0 picks a free one. */
  readonly listen: { readonly host?: string; readonly port: number };
  /** observe: called with the port once it answers. */
  readonly onListening?: (port: number) => void;
  /** observe: where a worker finds its queue; on the loopback of the pod by default. */
  readonly redis?: { readonly host: string; readonly port: number };
  /** observe: called with the port of that queue once it answers. */
  readonly onRedis?: (port: number) => void;
  /** observe: pause between two looks at the markers, in milliseconds. */
  readonly scanIntervalMs: number;
}

/** Reads and checks the request. Throws AgentFailure of category AgentError: the controller wrote it, not a user. */
export async function readRequest(file: string): Promise<AgentRequest> {
  const text = await readFile(file, 'utf8');
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new AgentFailure('AgentError', `the request in ${shown(file)} is not JSON: recreate the pod`, {
      cause,
    });
  }
  const parsed = agentRequest.safeParse(document);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue === undefined ? '' : `${issue.path.join('.')}: ${issue.message}`;
  throw new AgentFailure(
    'AgentError',
    `the request in ${shown(file)} is not understood (${where}): controller and agent must be of the same version`,
  );
}
