/** Makes the staging's `out` what will be published: cleaned, described by manifest and metannots, flushed to the disk. */
import { constants } from 'node:fs';
import { chmod, lstat, open, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mapBounded } from './concurrent.ts';
import { writeLines } from './lines.ts';
import { MANIFEST } from './manifest.ts';
import { manifestOf } from './manifest-content.ts';
import type { Publication, Tree } from './manifest-content.ts';
import { metannots } from './metannots.ts';
import { syncDirectory } from './paths.ts';
import { RESERVED_OUTPUTS } from './plan.ts';
import type { Verdict } from './verify.ts';

const CONCURRENCY = 16;

export async function completeOutputs(publication: Publication): Promise<void> {
  const { out, pod } = publication.places.staging;
  const kept = keptOutputs(publication.verdicts);
  await removeFailed(out, publication.verdicts, kept);
  // What the model wrote under the operator's own names gives way.
  await Promise.all(RESERVED_OUTPUTS.map((name) => rm(join(out, name), { recursive: true, force: true })));
  const tree = await cleanTree(out, kept);
  const finishedAt = publication.options.now();
  await writeFile(join(pod, 'metannots.tmp'), metannots(publication.request, finishedAt), {
    mode: 0o664,
    flush: true,
  });
  await rename(join(pod, 'metannots.tmp'), join(out, 'metannots.yml'));
  await writeLines(join(pod, 'manifest.tmp'), await manifestOf(publication, tree, finishedAt));
  await rename(join(pod, 'manifest.tmp'), join(out, MANIFEST));
  for (const directory of [...tree.directories, out]) {
    // oxlint-disable-next-line no-await-in-loop -- children before their parents
    await syncDirectory(directory);
  }
}

function keptOutputs(verdicts: readonly Verdict[]): Set<string> {
  const good = verdicts.filter(({ failure }) => failure === undefined);
  return new Set(good.flatMap(({ outputs }) => outputs.map(({ path }) => path)));
}

/** What a failed unit left is not a result; outputs that a good unit shares stay. */
async function removeFailed(
  out: string,
  verdicts: readonly Verdict[],
  kept: ReadonlySet<string>,
): Promise<void> {
  const failed = verdicts.filter(({ failure }) => failure !== undefined);
  const paths = failed
    .flatMap(({ unit }) => unit.outputs.map(({ path }) => path))
    .filter((path) => !kept.has(path));
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
  const extra: string[] = [];
  const removed: string[] = [];
  const visit = async (below: string): Promise<void> => {
    const here = join(out, below);
    await chmod(here, 0o775);
    const entries = await readdir(here, { withFileTypes: true });
    const paths = entries.map((entry) => ({
      entry,
      path: below === '' ? entry.name : `${below}/${entry.name}`,
    }));
    await mapBounded(paths, CONCURRENCY, async ({ entry, path }) => {
      if (entry.isFile()) await cleanFile(join(out, path), kept.has(path));
      else if (!entry.isDirectory()) await rm(join(out, path), { force: true });
      if (entry.isFile() && !kept.has(path)) extra.push(path);
      else if (!entry.isFile() && !entry.isDirectory()) removed.push(path);
    });
    for (const { entry, path } of paths) {
      // oxlint-disable-next-line no-await-in-loop -- one directory after the other bounds open handles
      if (entry.isDirectory()) await visit(path);
    }
    if (below !== '') directories.push(here);
  };
  await visit('');
  return { directories, extra: extra.toSorted(), removed: removed.toSorted() };
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
