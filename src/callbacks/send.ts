import { Agent, request } from 'undici';
import { retryAfterMs } from '../lib/retry-after.ts';
import { type Address, pinned } from './addresses.ts';

/** What a receiver said to one delivery. */
export type Answer =
  | { readonly is: 'delivered' }
  /** Never again: the receiver is gone, or the endpoint may not be sent to. */
  | { readonly is: 'refused'; readonly why: string }
  | { readonly is: 'failed'; readonly why: string; readonly retryAfterMs?: number };

export interface Delivery {
  readonly url: string;
  readonly addresses: readonly Address[];
  readonly ca?: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Bytes of an answer that are read, so that its connection ends well; they are never kept. */
const MAX_ANSWER_BYTES = 4096;
const LONGEST_RETRY_AFTER_MS = 3_600_000;
const GONE = 410;

/** One POST on a connection of its own to addresses that were checked. Redirects are failures. Never throws but for the signal. */
export async function send(delivery: Delivery): Promise<Answer> {
  const { url, addresses, ca, headers, body, timeoutMs, signal } = delivery;
  const connect = { timeout: timeoutMs, lookup: pinned(addresses), ...(ca ? { ca } : {}) };
  const agent = new Agent({ connect, headersTimeout: timeoutMs, bodyTimeout: timeoutMs, pipelining: 0 });
  const bound = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    const {
      statusCode,
      headers: answered,
      body: said,
    } = await request(url, {
      method: 'POST',
      dispatcher: agent,
      headers: { ...headers, 'content-type': 'application/cloudevents+json; charset=utf-8' },
      body,
      signal: bound,
    });
    await said.dump({ limit: MAX_ANSWER_BYTES }).catch(() => undefined);
    return judge(statusCode, answered['retry-after']);
  } catch (error) {
    signal.throwIfAborted();
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer';
    return { is: 'failed', why: bound.aborted ? `no answer within ${timeoutMs} ms` : code };
  } finally {
    await agent.destroy();
  }
}

function judge(status: number, header: string | string[] | undefined): Answer {
  if (status >= 200 && status < 300) return { is: 'delivered' };
  const why = `the receiver answered ${status}`;
  if (status === GONE) return { is: 'refused', why: `${why}: it wants no more events` };
  const asked = retryAfterMs(header);
  if (asked === undefined) return { is: 'failed', why };
  return { is: 'failed', why, retryAfterMs: Math.min(asked, LONGEST_RETRY_AFTER_MS) };
}
