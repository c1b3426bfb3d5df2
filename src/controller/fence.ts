import { type Leadership, LeadershipLostError } from './leader.ts';
import type { Transport } from './transport.ts';

/** What work that only a leader may do is given. */
export interface Leading extends Pick<Leadership, 'isFresh' | 'lost'> {
  /** The only way to write; see `fenced`. */
  readonly transport: Transport;
}

/**
 * The same transport for work that only a leader may do: a write is refused in the very moment in which the lease is no
 * longer surely ours. A process that wakes up after a long stop runs its pending work before any timer tells it to end.
 */
export function fenced(transport: Transport, isFresh: () => boolean): Transport {
  const guard = (): void => {
    if (!isFresh()) throw new LeadershipLostError('Nothing is written any more: the lease is not fresh');
  };
  return {
    request: (options) => transport.request(options.method === 'GET' ? options : { ...options, guard }),
    stream: (options) => transport.stream(options),
    lastContactMs: () => transport.lastContactMs(),
    now: () => transport.now(),
    close: () => transport.close(),
  };
}
