import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { glob, lstat, readFile, readdir, readlink } from 'node:fs/promises';
import { join, normalize, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ignoring } from './dockerfile.ts';

/** Everything that decides what an image contains. */
export type ImageInputs = {
  readonly dockerfile: string;
  readonly context: string;
  readonly sources: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Ids or names of the base images. */
  readonly bases: readonly string[];
};

/** A hash over the Dockerfile, the files it copies, its arguments and its bases: equal hash, equal image. */
export async function hashImage(inputs: ImageInputs): Promise<string> {
  const hash = createHash('sha256');
  const args = Object.entries(inputs.buildArgs).toSorted(([a], [b]) => (a < b ? -1 : 1));
  hash.update(JSON.stringify([inputs.dockerfile, args, inputs.bases]));
  for (const file of await contextFiles(inputs)) await addFile(hash, inputs.context, file);
  return hash.digest('hex');
}

async function contextFiles(inputs: ImageInputs): Promise<readonly string[]> {
  const ignored = ignoring(await readFile(join(inputs.context, '.dockerignore'), 'utf8').catch(() => ''));
  const found = new Set<string>();
  for (const source of inputs.sources) {
    const pattern = normalize(source.replace(/^\/+/, ''));
    if (pattern === '.' || pattern === './') await walk(inputs.context, inputs.context, { ignored, found });
    else
      for await (const path of glob(pattern, { cwd: inputs.context })) {
        await walk(inputs.context, join(inputs.context, path), { ignored, found });
      }
  }
  return [...found].toSorted();
}

type Walk = { readonly ignored: (path: string) => boolean; readonly found: Set<string> };

async function walk(context: string, path: string, state: Walk): Promise<void> {
  const name = relative(context, path);
  if (name !== '' && state.ignored(name)) return;
  const stats = await lstat(path);
  if (!stats.isDirectory()) {
    state.found.add(name);
    return;
  }
  for (const entry of await readdir(path)) await walk(context, join(path, entry), state);
}

async function addFile(hash: Hash, context: string, file: string): Promise<void> {
  const path = join(context, file);
  const stats = await lstat(path);
  hash.update(JSON.stringify([file, stats.mode & 0o777, stats.size]));
  if (stats.isSymbolicLink()) hash.update(await readlink(path));
  else if (stats.isFile())
    await pipeline(createReadStream(path), async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) hash.update(chunk);
    });
}
