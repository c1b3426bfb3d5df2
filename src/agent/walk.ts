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

/** What was passed over on the way. */
export interface Passed {
  /** Linked directories that were not entered. */
  linkedDirectories: number;
}

const ANNEX = `${join('.git', 'annex', 'objects')}/`;
const MAX_DEPTH = 64;

/** The inputs in the order of the bytes of their paths, a few at a time: one directory's names are in memory. */
export async function* walkInputs(search: InputSearch, passed: Passed): AsyncGenerator<FoundInput[]> {
  yield* walkDirectory(search, { path: search.directory, depth: 0, passed });
}

interface Place {
  readonly path: string;
  readonly depth: number;
  readonly passed: Passed;
}

async function* walkDirectory(search: InputSearch, place: Place): AsyncGenerator<FoundInput[]> {
  let files: FoundInput[] = [];
  for (const entry of await sortedEntries(join(search.root, place.path))) {
    const path = place.path === '' ? entry.name : `${place.path}/${entry.name}`;
    if (entry.kind.isDirectory()) {
      if (!isEntered(search, path, entry.name) || place.depth + 1 >= MAX_DEPTH) continue;
      yield files;
      files = [];
      yield* walkDirectory(search, { ...place, path, depth: place.depth + 1 });
    } else {
      // Only links need to wait.
      const found = classify(search, { ...entry, path }, place.passed);
      const input = found instanceof Promise ? await found : found;
      if (input !== undefined) files.push(input);
    }
  }
  yield files;
}

interface Entry {
  readonly name: string;
  readonly isUtf8: boolean;
  readonly kind: Dirent;
}

/** A directory's entries so that a walk meets whole paths in the order of their bytes: `a-b` before `a/b` before `a0`. */
async function sortedEntries(directory: string): Promise<Entry[]> {
  // Latin-1 keeps every byte of a name as one character, in the right order, without an object per name.
  const entries = await readdir(directory, { withFileTypes: true, encoding: 'latin1' });
  return entries
    .toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1))
    .map((kind) => {
      const bytes = Buffer.from(kind.name, 'latin1');
      return { name: bytes.toString(), isUtf8: isUtf8(bytes), kind };
    });
}

function orderOf(entry: Dirent): string {
  return entry.isDirectory() ? `${entry.name}/` : entry.name;
}

/** Hidden directories hold no recordings, and the directory of results no inputs. */
function isEntered(search: InputSearch, path: string, name: string): boolean {
  return !name.startsWith('.') && join(search.root, path) !== search.outputs;
}

function classify(
  search: InputSearch,
  { kind, path, isUtf8: isReadable }: Entry & { readonly path: string },
  passed: Passed,
): FoundInput | undefined | Promise<FoundInput | undefined> {
  if (!search.include.some((glob) => matchesGlob(path, glob)))
    return kind.isSymbolicLink() ? countLink(join(search.root, path), passed) : undefined;
  if (!isReadable) return { path, problem: 'has a name that is not UTF-8: rename it (convmv -t utf8)' };
  if (kind.isSymbolicLink()) return followLink(search, path);
  return kind.isFile() ? { path } : { path, problem: 'is not a regular file: remove it' };
}

async function followLink(search: InputSearch, path: string): Promise<FoundInput> {
  return { path, ...(await checkLink(search.dataset, join(search.root, path))) };
}

async function countLink(file: string, passed: Passed): Promise<undefined> {
  passed.linkedDirectories += await isLinkedDirectory(file);
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
