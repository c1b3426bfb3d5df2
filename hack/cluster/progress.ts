import process from 'node:process';

/** Prints one line per step with the seconds since the start of the command. */
export type Progress = {
  readonly say: (text: string) => void;
  /** Says `text`, repeats it as a heartbeat while `work` runs, and says how long it took. */
  readonly step: <T>(text: string, work: () => Promise<T>) => Promise<T>;
};

/** Seconds as `[ 12.3s]`, width-stable below 10 000 s. */
export const stamp = (milliseconds: number): string => `[${(milliseconds / 1000).toFixed(1).padStart(6)}s]`;

/** A progress printer on stderr; stdout stays free for machine-readable answers. */
export function createProgress(
  options: { readonly heartbeatMs?: number; readonly write?: (line: string) => void } = {},
): Progress {
  const started = Date.now();
  const write = options.write ?? ((line: string) => void process.stderr.write(`${line}\n`));
  const say = (text: string): void => write(`${stamp(Date.now() - started)} ${text}`);
  const step = async <T>(text: string, work: () => Promise<T>): Promise<T> => {
    const begun = Date.now();
    say(`${text} ...`);
    const elapsed = (): string => `${((Date.now() - begun) / 1000).toFixed(1)} s`;
    const beat = setInterval(() => say(`  still ${text} (${elapsed()})`), options.heartbeatMs ?? 20_000);
    try {
      const result = await work();
      if (Date.now() - begun > 1000) say(`  done: ${text} (${elapsed()})`);
      return result;
    } finally {
      clearInterval(beat);
    }
  };
  return { say, step };
}
