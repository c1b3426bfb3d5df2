/** Remembers what was said already: a bad item is in every list, and one line about it is enough. */
export interface RejectionBook {
  isNew(uid: string | undefined, problem: string): boolean;
}

const MEMORY = 10_000;

export function createRejectionBook(): RejectionBook {
  const said = new Set<string>();
  return {
    isNew(uid, problem) {
      const line = `${uid ?? ''} ${problem}`;
      if (said.has(line)) return false;
      if (said.size >= MEMORY) said.clear();
      said.add(line);
      return true;
    },
  };
}
