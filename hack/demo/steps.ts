/** A step that took time, for the summary. */
export type Timing = { readonly name: string; readonly seconds: number };

/** Runs named steps, says when each begins and how long it took, and remembers the times. */
export type Steps = {
  readonly step: <T>(name: string, work: () => Promise<T>) => Promise<T>;
  readonly timings: readonly Timing[];
};

export function createSteps(write: (line: string) => void, now: () => number = Date.now): Steps {
  const timings: Timing[] = [];
  const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const begun = now();
    write(`==> ${name}`);
    try {
      return await work();
    } finally {
      timings.push({ name, seconds: (now() - begun) / 1000 });
    }
  };
  return { step, timings };
}
