import { link, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OPERATOR } from '../e2e/support/site.ts';
import { isCrash } from '../faults/rig/oracles.ts';

/* kubelet keeps the log of a container and of the one before; of operators that are killed all the time all are kept. */

/** Collects the logs of the release's pods, until it is asked for them. */
export interface Witness {
  /** Lines of all operators that tell of a fault in the program. */
  crashes(): Promise<string[]>;
  stop(): void;
}

const LOOK_MS = 3000;

export async function startWitness(cluster: string): Promise<Witness> {
  const logs = join(cluster, 'pod-logs');
  // Beside the originals, for a second name of a file needs the same file system.
  const kept = join(cluster, 'storm-logs');
  await rm(kept, { recursive: true, force: true }); // of an earlier storm
  await mkdir(kept, { recursive: true });
  const look = (): Promise<void> => keep(logs, kept);
  const timer = setInterval(() => void look(), LOOK_MS);
  return {
    async crashes() {
      await look();
      const files = await readdir(kept);
      if (files.length === 0) return ['no log of an operator was kept'];
      const texts = await Promise.all(files.map((file) => readFile(join(kept, file), 'utf8')));
      return texts.flatMap((text) => text.split('\n').filter(isCrash));
    },
    stop: () => clearInterval(timer),
  };
}

/** Whatever goes away meanwhile was kept before. */
const namesIn = (directory: string): Promise<string[]> => readdir(directory).catch(() => []);

async function keep(logs: string, kept: string): Promise<void> {
  const pods = (await namesIn(logs)).filter((name) => name.startsWith(`${OPERATOR.namespace}_`));
  for (const pod of pods)
    for (const container of await namesIn(join(logs, pod)))
      for (const file of await namesIn(join(logs, pod, container)))
        await link(join(logs, pod, container, file), join(kept, `${pod}_${container}_${file}`)).catch(
          () => undefined, // has it already
        );
}
