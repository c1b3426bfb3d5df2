import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { cacheDir } from '../cluster/cache.ts';
import { DRIVERS } from '../cluster/options.ts';

const schema = z.object({
  driver: z.enum(DRIVERS),
  /** Whether the demo started the cluster, so that it may also end it. */
  started: z.boolean(),
  /** Whether the kinds were there before the demo, so that they must stay. */
  kindsBefore: z.boolean(),
});

/** What `make demo-clean` must know about earlier runs. */
export type DemoState = z.output<typeof schema>;

const fileOf = (cluster: string): string => join(cacheDir(), 'demo', `${cluster}.json`);

/** What earlier runs of the demo left on the cluster of that name; undefined when there were none. */
export async function readState(cluster: string): Promise<DemoState | undefined> {
  const text = await readFile(fileOf(cluster), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : schema.parse(JSON.parse(text));
}

export async function writeState(cluster: string, state: DemoState): Promise<void> {
  await mkdir(dirname(fileOf(cluster)), { recursive: true });
  await writeFile(fileOf(cluster), `${JSON.stringify(state)}\n`);
}

export async function forgetState(cluster: string): Promise<void> {
  await rm(fileOf(cluster), { force: true });
}
