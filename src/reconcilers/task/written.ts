import { isOlder, type KubeObject } from '../../controller/resources.ts';

/**
 * Read-your-writes: the version of each object after our own last write. A cached copy that is older is not worth a
 * decision; it would only run into a conflict. Entries go as soon as the cache has caught up.
 */
export interface WrittenVersions {
  note(object: KubeObject): void;
  isStale(object: KubeObject): boolean;
}

export function createWrittenVersions(): WrittenVersions {
  const versions = new Map<string, string>();
  return {
    note: ({ metadata }) => void versions.set(metadata.uid, metadata.resourceVersion),
    isStale({ metadata }) {
      const written = versions.get(metadata.uid);
      if (written === undefined) return false;
      if (isOlder(metadata.resourceVersion, written)) return true;
      versions.delete(metadata.uid);
      return false;
    },
  };
}
