/**
 * Paths on the store. Two layers, both needed:
 *   lexical  no segment of an untrusted string may be empty, `.` or `..`, or hold a NUL
 *   real     after links are followed, the place must still lie inside the root it was asked for
 */
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { lstat, mkdir, open, realpath } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { STAGING } from '../api/request.ts';
import { AgentFailure, errorCode, isMissing, shown } from './failure.ts';

/** Whether `path` is `root` or below it. Both absolute and normalised. */
export function isInside(root: string, path: string): boolean {
  const rest = relative(root, path);
  return rest === '' || (rest !== '..' && !rest.startsWith(`..${sep}`) && !rest.startsWith('/'));
}

/** Why `path` may not be joined below a root, or undefined when it may. */
export function pathProblem(path: string): string | undefined {
  if (path.includes('\0')) return 'contains a NUL byte';
  const segments = path.split('/');
  if (segments.includes('')) return 'is empty, absolute or contains an empty segment';
  if (segments.includes('.') || segments.includes('..')) return 'contains a "." or ".." segment';
  const long = segments.find((segment) => Buffer.byteLength(segment) > 255);
  return long === undefined
    ? undefined
    : `has a segment of ${Buffer.byteLength(long)} bytes; file systems allow 255`;
}

/** Joins an untrusted relative path below root. Throws InvalidInput naming the field when it could leave the root. */
export function joinBelow(root: string, path: string, field: string): string {
  const problem = pathProblem(path);
  if (problem === undefined) return join(root, path);
  throw new AgentFailure(
    'InvalidInput',
    `${field} ${shown(path)} ${problem}: give a relative path such as "lab1/corpus"`,
  );
}

/** What an untrusted path is called in messages, and the place that it must not leave. */
export interface PathRole {
  readonly field: string;
  readonly within: 'the store' | 'the dataset';
}

/** Resolves links and refuses a place outside the root. Throws InvalidInput when it is missing or outside. */
export async function realBelow(root: string, path: string, role: PathRole): Promise<string> {
  const joined = joinBelow(root, path, role.field);
  const realRoot = await realpath(root);
  let real: string;
  try {
    real = await realpath(joined);
  } catch (error) {
    if (errorCode(error) !== 'ELOOP' && !isMissing(error)) throw error;
    throw new AgentFailure(
      'InvalidInput',
      `${role.field} ${shown(path)} does not exist in ${role.within}: check the spelling, or copy the data there`,
      { cause: error },
    );
  }
  if (isInside(realRoot, real)) return real;
  throw new AgentFailure(
    'InvalidInput',
    `${role.field} ${shown(path)} is a link to a place outside of ${role.within}: copy the data instead of linking it`,
  );
}

/** Makes a directory unless it is there; a link or a file in its place is refused. */
export async function ensureDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o775 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    const found = await lstat(path);
    if (found.isDirectory()) return;
    throw new AgentFailure(
      'OutputConflict',
      `${shown(path)} is not a directory, results cannot be written below it: move it away`,
      { cause: error },
    );
  }
}

/** Everything below `<dataset>/outputs` that one pod of one task touches. */
export interface StagingPaths {
  readonly outputs: string;
  readonly allStaging: string;
  /** Staging of all pods of the task. */
  readonly task: string;
  /** Staging of this pod. */
  readonly pod: string;
  readonly out: string;
  readonly control: string;
  readonly plan: string;
  readonly records: string;
  /** What a worker said (worker-record.ts). */
  readonly worker: string;
}

/** Names inside the staging directory of a pod; `out` is where the outputs appear in it. */
export function insidePod(
  pod: string,
  out: string = STAGING.out,
): Pick<StagingPaths, 'pod' | 'out' | 'control' | 'plan' | 'records' | 'worker'> {
  return {
    pod,
    out: join(pod, out),
    control: join(pod, STAGING.control),
    plan: join(pod, STAGING.plan),
    records: join(pod, STAGING.records),
    worker: join(pod, STAGING.worker),
  };
}

export function stagingPaths(
  dataset: string,
  pod: { readonly taskUid: string; readonly podUid: string; readonly out?: string },
): StagingPaths {
  const outputs = join(dataset, STAGING.outputs);
  const allStaging = join(outputs, STAGING.staging);
  const task = joinBelow(allStaging, pod.taskUid, 'task.uid');
  return { outputs, allStaging, task, ...insidePod(joinBelow(task, pod.podUid, 'POD_UID'), pod.out) };
}

/** Makes the staging directory of the pod, one checked step after the other, so that no planted link is followed. */
export async function ensureStaging(paths: StagingPaths): Promise<void> {
  for (const path of [paths.outputs, paths.allStaging, paths.task, paths.pod]) {
    // oxlint-disable-next-line no-await-in-loop -- each directory stands in the one before
    await ensureDirectory(path);
  }
}

/** A tree that an untrusted process wrote. */
export interface UntrustedTree {
  /** Absolute, without links. */
  readonly root: string;
  /** Directories found to be real; kept only when nobody writes to the tree any more. */
  readonly seen?: Set<string>;
}

export interface OpenFile {
  readonly handle: FileHandle;
  readonly stats: Stats;
}

/**
 * Opens a regular file of an untrusted tree: no link is followed in any segment, and a pipe or device neither blocks
 * nor passes. What cannot be used is told apart, not thrown; errors of the storage are thrown.
 */
export async function openUntrusted(
  tree: UntrustedTree,
  path: string,
): Promise<OpenFile | 'missing' | 'notRegular'> {
  const full = join(tree.root, path);
  try {
    if (!(await hasRealParent(tree, full))) return 'notRegular';
    const handle = await open(full, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (stats.isFile()) return { handle, stats };
    await handle.close();
    return 'notRegular';
  } catch (error) {
    if (isMissing(error)) return 'missing';
    if (errorCode(error) === 'ELOOP' || errorCode(error) === 'ENXIO') return 'notRegular';
    throw error;
  }
}

/** What stands at a path of an untrusted tree, link or not; undefined when nothing does, or a link leads there. */
export async function statUntrusted(tree: UntrustedTree, path: string): Promise<Stats | undefined> {
  const full = join(tree.root, path);
  try {
    return (await hasRealParent(tree, full)) ? await lstat(full) : undefined;
  } catch (error) {
    if (isMissing(error) || errorCode(error) === 'ELOOP') return undefined;
    throw error;
  }
}

async function hasRealParent(tree: UntrustedTree, full: string): Promise<boolean> {
  const parent = dirname(full);
  if (tree.seen?.has(parent) === true) return true;
  const real = (await realpath(parent)) === parent;
  if (real) tree.seen?.add(parent);
  return real;
}

/** The start of a small file of an untrusted tree; empty when there is no such regular file. */
export async function readUntrusted(tree: UntrustedTree, path: string, limit: number): Promise<string> {
  const file = await openUntrusted(tree, path);
  if (file === 'missing' || file === 'notRegular') return '';
  try {
    const { bytesRead, buffer } = await file.handle.read(Buffer.alloc(limit), 0, limit, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.handle.close();
  }
}

/** Flushes a directory's entries; file systems that cannot do so are left alone. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } catch (error) {
    if (errorCode(error) !== 'EINVAL' && errorCode(error) !== 'ENOTSUP') throw error;
  } finally {
    await handle.close();
  }
}
