import type { Listing } from './client.ts';

/** Lists in a row from which a task must be missing before it counts as gone. */
const BELIEVED_AFTER = 3;
/** A list that lost more than this share since the last one is taken for a mistake until the next confirms it. */
const SUDDEN_SHARE = 0.5;

/** What absence from a list may be believed to mean: a proxy's empty page must cancel nothing. */
export interface MissingBook {
  /** Notes a complete list; returns the uids of `known` that are missing for good. */
  note(listing: Pick<Listing, 'named' | 'items'>, known: Iterable<string>): ReadonlySet<string>;
}

export function createMissingBook(): MissingBook {
  let misses = new Map<string, number>();
  let lastItems = 0;
  return {
    note({ named, items }, known) {
      const isSudden = items < lastItems * (1 - SUDDEN_SHARE);
      lastItems = items;
      const next = new Map<string, number>();
      for (const uid of known)
        if (!named.has(uid)) next.set(uid, (misses.get(uid) ?? 0) + (isSudden ? 0 : 1));
      misses = next;
      return new Set([...misses].filter(([, count]) => count >= BELIEVED_AFTER).map(([uid]) => uid));
    },
  };
}
