import { LineSplitter } from './line-splitter.ts';
import { watchErrorOf } from './response.ts';
import type { Query, Transport } from './transport.ts';

export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: unknown }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface WatchRequest {
  readonly path: string;
  readonly query: Query;
  readonly signal: AbortSignal;
  /** @default 16 MiB */
  readonly maxLineBytes?: number;
}

/** The server said something that is no watch event; the stream cannot be trusted any further. */
export class WatchProtocolError extends Error {
  override readonly name = 'WatchProtocolError';
}

const MAX_LINE_BYTES = 16 * 2 ** 20;

/**
 * Runs one watch and calls `apply` for each event, in order. Resolves when the server ends it cleanly; throws ApiError
 * for an ERROR event, WatchProtocolError or LineTooLongError for garbage, and whatever `apply` throws.
 */
export async function runWatch(
  transport: Transport,
  { path, query, signal, maxLineBytes = MAX_LINE_BYTES }: WatchRequest,
  apply: (event: WatchEvent) => void,
): Promise<void> {
  const body = await transport.stream({
    path,
    query: { ...query, watch: true, allowWatchBookmarks: true },
    signal,
  });
  const splitter = new LineSplitter(maxLineBytes, (line) => {
    // After an abort not one more event may come through, even if its bytes are here already.
    if (!signal.aborted) apply(parseEvent(path, line));
  });
  try {
    for await (const chunk of body) splitter.push(chunk as Buffer);
  } finally {
    body.destroy();
  }
  if (splitter.pendingBytes > 0)
    throw new WatchProtocolError(`watch of ${path} was cut in the middle of an event`);
}

function parseEvent(path: string, line: string): WatchEvent {
  const { type, object } = parseLine(path, line);
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type, object };
    case 'BOOKMARK':
      return { type, resourceVersion: bookmarkVersion(path, object) };
    case 'ERROR':
      throw watchErrorOf(path, object);
    default:
      throw new WatchProtocolError(`watch of ${path} sent an unknown event type ${JSON.stringify(type)}`);
  }
}

function parseLine(path: string, line: string): { readonly type?: unknown; readonly object?: unknown } {
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event === 'object' && event !== null) return event;
  } catch (cause) {
    throw new WatchProtocolError(`watch of ${path} sent a line that is no JSON`, { cause });
  }
  throw new WatchProtocolError(`watch of ${path} sent a line that is no event`);
}

function bookmarkVersion(path: string, object: unknown): string {
  const version = (object as { metadata?: { resourceVersion?: unknown } } | undefined)?.metadata
    ?.resourceVersion;
  if (typeof version === 'string' && version !== '') return version;
  throw new WatchProtocolError(`watch of ${path} sent a bookmark without resourceVersion`);
}
