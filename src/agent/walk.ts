/**
 * Finds the inputs of a task. Directory links are not followed; a linked file is an input when its content lies inside
 * the dataset (as git-annex arranges it) and the link works at another mount point too, that is, it is relative.
 */
import { isUtf8 } from 'node:buffer';
import type { Dirent } from 'node:fs';
import { readdir, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join, matchesGlob, resolve } from 'node:path';
import { isMissing } from './failure.ts';
import { isInside } from './paths.ts';

export interface FoundInput {
  /** Relative to inputs.root. */
  readonly path: string;
  /** Why it cannot be read; undefined when it can. */
  readonly problem?: string;
  readonly annexKey?: string;
}

export interface InputSearch {
  /** Real path of the dataset. */
  readonly dataset: string;
  /** inputs.root joined below the dataset. */
  readonly root: string;
  /** Directory below root to which the search is limited, or empty. */
  readonly directory: string;
  readonly include: readonly string[];
  /** `<dataset>/outputs`, which holds results, not inputs (unless root itself lies there). */
  readonly outputs: string;
}

export interface InputListing {
  /** Sorted by the bytes of their path. */
  readonly inputs: readonly FoundInput[];
  /** Linked directories that were not entered. */
  readonly linkedDirectories: number;
}

const ANNEX = `${join('.git', 'annex', 'objects')}/`;
const MAX_DEPTH = 64;

export async function listInputs(search: InputSearch): Promise<InputListing> {
  const inputs: FoundInput[] = [];
  let linkedDirectories = 0;
  let level = [search.directory];
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth++) {
    const next: string[] = [];
    for (const directory of level) {
      // oxlint-disable-next-line no-await-in-loop -- one directory at a time keeps memory and file handles bounded
      const found = await scanDirectory(search, directory);
      inputs.push(...found.inputs);
      next.push(...found.directories);
      linkedDirectories += found.links;
    }
    level = next;
  }
  return { inputs: sortByBytes(inputs), linkedDirectories };
}

function sortByBytes(inputs: FoundInput[]): FoundInput[] {
  return inputs
    .map((input) => ({ input, bytes: Buffer.from(input.path) }))
    .toSorted((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ input }) => input);
}

interface Scan {
  readonly inputs: FoundInput[];
  readonly directories: string[];
  links: number;
}

async function scanDirectory(search: InputSearch, directory: string): Promise<Scan> {
  const scan: Scan = { inputs: [], directories: [], links: 0 };
  const entries = await readdir(join(search.root, directory), { withFileTypes: true, encoding: 'buffer' });
  for (const entry of entries) {
    const path = directory === '' ? entry.name.toString() : `${directory}/${entry.name.toString()}`;
    // oxlint-disable-next-line no-await-in-loop -- only links need to wait
    await classify(search, { entry, path }, scan);
  }
  return scan;
}

async function classify(
  search: InputSearch,
  found: { readonly entry: Dirent<Buffer>; readonly path: string },
  scan: Scan,
): Promise<void> {
  const { entry, path } = found;
  const file = join(search.root, path);
  if (entry.isDirectory()) {
    if (!entry.name.toString().startsWith('.') && file !== search.outputs) scan.directories.push(path);
    return;
  }
  if (!search.include.some((glob) => matchesGlob(path, glob))) {
    if (entry.isSymbolicLink()) scan.links += await isLinkedDirectory(file);
    return;
  }
  if (!isUtf8(entry.name)) {
    scan.inputs.push({ path, problem: 'has a name that is not UTF-8: rename it (convmv -t utf8)' });
  } else if (entry.isSymbolicLink()) {
    scan.inputs.push({ path, ...(await checkLink(search.dataset, file)) });
  } else {
    scan.inputs.push(entry.isFile() ? { path } : { path, problem: 'is not a regular file: remove it' });
  }
}

async function isLinkedDirectory(file: string): Promise<0 | 1> {
  try {
    return (await stat(file)).isDirectory() ? 1 : 0;
  } catch {
    return 0;
  }
}

async function checkLink(dataset: string, file: string): Promise<Pick<FoundInput, 'problem' | 'annexKey'>> {
  const target = await readlink(file);
  let real: string;
  try {
    real = await realpath(file);
  } catch (error) {
    if (!isMissing(error) && !(error instanceof Error && 'code' in error && error.code === 'ELOOP'))
      throw error;
    const annexed = target.includes(ANNEX);
    return {
      problem: annexed ? 'has no content here: run "git annex get" on it' : 'is a broken link: repair it',
    };
  }
  if (!isInside(dataset, real))
    return { problem: 'is a link out of the dataset: copy the file into the dataset' };
  if (target.startsWith('/') || !isInside(dataset, resolve(dirname(file), target))) {
    return {
      problem: 'is a link that works only at this mount point: replace it with a relative link or a copy',
    };
  }
  return real.includes(`/${ANNEX}`) ? { annexKey: real.slice(real.lastIndexOf('/') + 1) } : {};
}
