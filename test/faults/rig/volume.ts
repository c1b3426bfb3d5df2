import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { RECORDINGS, wav } from '../../../src/agent/testing/fixtures.ts';
import { STAGING } from '../../../src/api/request.ts';

export const DATASET = 'corpus';

/** A store with one small dataset. */
export async function makeStore(): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'store-'));
  for (const name of ['a.wav', 'b.wav']) {
    const file = join(root, DATASET, RECORDINGS, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, wav());
  }
  return root;
}

const manifest = z.looseObject({ identity: z.string() });

/** One directory beside the staging. */
export interface Publication {
  /** Of its manifest; nobody where there is none. */
  readonly identity: string;
  readonly manifestSha256: string | undefined;
}

/** Who published what, by output name. */
export async function publications(store: string): Promise<ReadonlyMap<string, Publication>> {
  const outputs = join(store, DATASET, STAGING.outputs);
  const names = await readdir(outputs).catch(() => []);
  const found = new Map<string, Publication>();
  for (const name of names.filter((entry) => entry !== STAGING.staging))
    found.set(name, await publicationIn(join(outputs, name)));
  return found;
}

async function publicationIn(directory: string): Promise<Publication> {
  const bytes = await readFile(join(directory, 'manifest.json')).catch(() => undefined);
  if (bytes === undefined) return { identity: 'nobody', manifestSha256: undefined };
  const { identity } = manifest.parse(JSON.parse(bytes.toString()));
  return { identity, manifestSha256: createHash('sha256').update(bytes).digest('hex') };
}
