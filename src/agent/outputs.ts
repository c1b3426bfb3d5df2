/** Makes the staging's `out` what will be published: cleaned, described by manifest and metannots, flushed to the disk. */
import { constants } from 'node:fs';
import type { Dirent } from 'node:fs';
import { chmod, lstat, open, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { inBatches, mapBounded } from '../lib/concurrent.ts';
import { writeLines } from './lines.ts';
import { MANIFEST, manifestBlocks } from './manifest.ts';
import { manifestHead, PathList } from './manifest-content.ts';
import type { Publication, Tree } from './manifest-content.ts';
import type { ManifestLists } from './manifest-lists.ts';
import { metannots } from './metannots.ts';
import { syncDirectory } from './paths.ts';
import { RESERVED_OUTPUTS } from './plan.ts';

const CONCURRENCY = 16;
const BATCH = 256;

export async function completeOutputs(publication: Publication, lists: ManifestLists): Promise<void> {
  const { out, pod } = publication.places.staging;
  const { kept, lost } = publication.tally;
  await removeFailed(out, lost, kept);
  // What the model wrote under the operator's own names gives way.
  await Promise.all(RESERVED_OUTPUTS.map((name) => rm(join(out, name), { recursive: true, force: true })));
  const tree = await cleanTree(out, kept);
  const finishedAt = publication.options.now();
  await writeFile(join(pod, 'metannots.tmp'), metannots(publication.request, finishedAt), {
    mode: 0o664,
    flush: true,
  });
  await rename(join(pod, 'metannots.tmp'), join(out, 'metannots.yml'));
  const head = await manifestHead(publication, tree, finishedAt);
  await writeLines(join(pod, 'manifest.tmp'), manifestBlocks(head, lists.blocks()));
  await rename(join(pod, 'manifest.tmp'), join(out, MANIFEST));
  for (const directory of [...tree.directories, out]) {
    // oxlint-disable-next-line no-await-in-loop -- children before their parents
    await syncDirectory(directory);
  }
}

/** What a failed unit left is not a result; outputs that a good unit shares stay. */
async function removeFailed(out: string, lost: readonly string[], kept: ReadonlySet<string>): Promise<void> {
  const paths = lost.filter((path) => !kept.has(path));
  // Behind a link, nothing of this task is to be found: the link goes with the tree's other links.
  const real = await mapBounded(paths, CONCURRENCY, async (path) =>
    (await hasRealParents(out, path)) ? [path] : [],
  );
  await mapBounded(real.flat(), CONCURRENCY, (path) => rm(join(out, path), { recursive: true, force: true }));
  for (const directory of new Set(real.flat().map((path) => dirname(path)))) {
    // oxlint-disable-next-line no-await-in-loop -- few directories; those that hold something stay
    if (directory !== '.') await rmdir(join(out, directory)).catch(() => undefined);
  }
}

async function hasRealParents(out: string, path: string): Promise<boolean> {
  const segments = path.split('/').slice(0, -1);
  for (let count = 1; count <= segments.length; count++) {
    // oxlint-disable-next-line no-await-in-loop -- from the top down
    const found = await lstat(join(out, ...segments.slice(0, count))).catch(() => undefined);
    if (found === undefined || !found.isDirectory()) return false;
  }
  return true;
}

/** Walks what the model left: sets modes, flushes files nobody verified, removes what is neither file nor directory. */
async function cleanTree(out: string, kept: ReadonlySet<string>): Promise<Tree> {
  const directories: string[] = [];
  const tree = { directories, extra: new PathList(), removed: new PathList() };
  const visit = async (below: string): Promise<void> => {
    const here = join(out, below);
    await chmod(here, 0o775);
    const inner: string[] = [];
    for await (const batch of inBatches(await sortedNames(here), BATCH)) {
      await mapBounded(batch, CONCURRENCY, async (entry) => {
        const path = below === '' ? entry.name : `${below}/${entry.name}`;
        if (entry.isFile()) await cleanFile(join(out, path), kept.has(path));
        else if (!entry.isDirectory()) await rm(join(out, path), { force: true });
      });
      for (const entry of batch) {
        const path = below === '' ? entry.name : `${below}/${entry.name}`;
        if (entry.isDirectory()) inner.push(path);
        else if (!entry.isFile()) tree.removed.add(path);
        else if (!kept.has(path)) tree.extra.add(path);
      }
    }
    for (const path of inner) {
      // oxlint-disable-next-line no-await-in-loop -- one directory after the other bounds open handles
      await visit(path);
    }
    if (below !== '') directories.push(here);
  };
  await visit('');
  return tree;
}

async function sortedNames(directory: string): Promise<Dirent[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function cleanFile(file: string, verified: boolean): Promise<void> {
  const { mode } = await lstat(file);
  if ((mode & 0o7777) !== 0o664) await chmod(file, 0o664);
  if (verified) return;
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
