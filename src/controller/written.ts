import { isOlder, type KubeObject } from './resources.ts';

/**
 * Read-your-writes: the version of each object after our own last write. A cached copy that is older is not worth a
 * decision; it would only run into a conflict. Entries go as soon as the cache has caught up. A settled task leaves the
 * cache for good, so the oldest entries go when there are too many: what they save is a refused write.
 */
export interface WrittenVersions {
  note(object: KubeObject): void;
  isStale(object: KubeObject): boolean;
}

/** More than the tasks that anybody works on at once; some 2 MB. */
const MAX_ENTRIES = 10_000;

export function createWrittenVersions(maxEntries: number = MAX_ENTRIES): WrittenVersions {
  const versions = new Map<string, string>();
  return {
    note({ metadata }) {
      versions.delete(metadata.uid); // a map keeps the place of a key that is set again
      versions.set(metadata.uid, metadata.resourceVersion);
      const [oldest] = versions.keys();
      if (oldest !== undefined && versions.size > maxEntries) versions.delete(oldest);
    },
    isStale({ metadata }) {
      const written = versions.get(metadata.uid);
      if (written === undefined) return false;
      if (isOlder(metadata.resourceVersion, written)) return true;
      versions.delete(metadata.uid);
      return false;
    },
  };
}
