import { createHash } from 'node:crypto';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../gen/files.ts';

/** What a result depends on: the program and what it is made of, the chart, the rig and the cluster's recipe. */
const SOURCES = [
  'src/**/*.ts',
  'test/{faults,support}/**/*',
  'hack/{cluster,faults,elsi-stand-in}/**/*',
  'hack/helm.ts',
  'charts/**/*',
  'crds/*.yaml',
  'package-lock.json',
];

/** Names the state of the sources: a result counts only for the sources it was made with. */
export async function sourcesHash(): Promise<string> {
  const paths: string[] = [];
  for await (const entry of glob(SOURCES, { cwd: ROOT, withFileTypes: true }))
    if (entry.isFile()) paths.push(join(entry.parentPath, entry.name));
  const hash = createHash('sha256');
  for (const path of paths.toSorted((a, b) => a.localeCompare(b, 'en'))) {
    hash.update(path.slice(ROOT.length)).update(await readFile(path));
  }
  return hash.digest('hex').slice(0, 16);
}
