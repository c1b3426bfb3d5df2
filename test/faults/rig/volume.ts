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

/** Who published what: output name -> identity in its manifest. */
export async function publications(store: string): Promise<ReadonlyMap<string, string>> {
  const outputs = join(store, DATASET, STAGING.outputs);
  const names = await readdir(outputs).catch(() => []);
  const found = new Map<string, string>();
  for (const name of names.filter((entry) => entry !== STAGING.staging)) {
    const text = await readFile(join(outputs, name, 'manifest.json'), 'utf8').catch(() => undefined);
    found.set(name, text === undefined ? 'nobody' : manifest.parse(JSON.parse(text)).identity);
  }
  return found;
}
