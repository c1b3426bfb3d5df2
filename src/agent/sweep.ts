/**
 * Removes staging that no task needs any more.
 *
 *   1. the agent lists what stands in `<dataset>/outputs/.staging`          (listStaging)
 *   2. the controller then lists the tasks, and names what belongs to none  (a task is older than its staging, so one
 *      that stands in the list of step 1 is in the list of step 2, unless it is settled or deleted)
 *   3. the agent removes exactly what is named, if it has been idle for long enough by its own look (removeStaging)
 *
 * A directory is renamed before it is emptied: should a pod use it against all expectation, it loses all of it at once
 * and fails, and never publishes a part. What a killed sweep left under the new name, the next one removes.
 */
import { randomUUID } from 'node:crypto';
import { lstat, readdir, realpath, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { STAGING } from '../api/request.ts';
import { STORE_MAX_ENTRIES, STORE_MAX_PATH } from '../api/store.ts';
import type { StagingAnswer, StagingEntry, SweepAnswer, SweepRequest } from '../api/store.ts';
import { errorCode, isMissing } from './failure.ts';
import { pathProblem } from './paths.ts';
import { shorten } from './report.ts';

/** Datasets are looked for this deep below the root of the store. */
const MAX_DEPTH = 6;
/** About as many entries of one staging directory are looked at for their age, the uppermost first. */
const AGE_ENTRIES = 20_000;
const SWEPT = '.swept-';
/** UIDs of Kubernetes, and what a sweep renames them to. */
const NAME = /^(\.swept-)?[A-Za-z0-9][A-Za-z0-9-]{0,120}$/;

export interface SweepLimits {
  /** Milliseconds of performance.now() after which nothing new is begun. */
  readonly until: number;
  /** Nothing that was written to within this time is removed, whoever asks. In seconds. */
  readonly leastIdleSeconds: number;
}

/** Everything below every `outputs/.staging`, in no particular order. */
export async function listStaging(storeRoot: string, limits: SweepLimits): Promise<StagingAnswer> {
  const root = await realpath(storeRoot);
  const entries: StagingEntry[] = [];
  for await (const dataset of datasets(root, limits)) {
    if (dataset.length > STORE_MAX_PATH) continue; // no task can name it
    for (const name of await names(join(root, dataset, STAGING.outputs, STAGING.staging))) {
      if (entries.length >= STORE_MAX_ENTRIES || isOver(limits)) return { v: 1, entries, complete: false };
      const swept = name.startsWith(SWEPT);
      const directory = join(root, dataset, STAGING.outputs, STAGING.staging, name);
      // What an interrupted sweep left has no age; what cannot be looked at has none that could be told.
      const idleSeconds = swept ? 0 : await idleOf(directory, limits).catch(() => undefined);
      if (idleSeconds !== undefined) entries.push({ dataset, name, idleSeconds, swept });
    }
  }
  return { v: 1, entries, complete: !isOver(limits) };
}

function isOver({ until }: SweepLimits): boolean {
  return performance.now() >= until;
}

async function names(staging: string): Promise<string[]> {
  return (await directories(staging)).filter((name) => NAME.test(name));
}

function nothingThere(error: unknown): [] {
  if (isMissing(error) || errorCode(error) === 'EACCES') return [];
  throw error;
}

/**
 * Datasets that hold a real `outputs/.staging`. A directory with `outputs` is a dataset and not searched further;
 * links and hidden directories are left alone, as no dataset path may name them.
 */
async function* datasets(root: string, limits: SweepLimits): AsyncGenerator<string> {
  let level: string[] = [''];
  for (let depth = 0; depth <= MAX_DEPTH && level.length > 0; depth++) {
    const next: string[] = [];
    for (const below of shuffled(level)) {
      if (isOver(limits)) return;
      // oxlint-disable-next-line no-await-in-loop -- one directory at a time is gentle to the volume
      const inside = await directories(join(root, below));
      if (below === '' || !inside.includes(STAGING.outputs)) next.push(...visible(below, inside));
      // oxlint-disable-next-line no-await-in-loop -- as above
      else if (await isRealDirectory(join(root, below, STAGING.outputs, STAGING.staging))) yield below;
    }
    level = next;
  }
}

async function directories(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(nothingThere);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function visible(below: string, inside: readonly string[]): string[] {
  return inside
    .filter((name) => !name.startsWith('.'))
    .map((name) => (below === '' ? name : `${below}/${name}`));
}

/** When time runs out early again and again, another part is looked at each time. */
function shuffled(paths: readonly string[]): string[] {
  return paths
    .map((path) => ({ path, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ path }) => path);
}

async function isRealDirectory(path: string): Promise<boolean> {
  const found = await lstat(path).catch((error: unknown) => {
    nothingThere(error);
    return undefined;
  });
  return found?.isDirectory() === true;
}

/**
 * Seconds since the newest change in a tree; undefined when it vanished meanwhile, or time ran out before it was known.
 * Throws when a part cannot be looked at: it might be in use.
 */
async function idleOf(directory: string, limits: SweepLimits): Promise<number | undefined> {
  let newest = 0;
  const queue = [directory];
  for (const path of queue) {
    // oxlint-disable-next-line no-await-in-loop -- gentle to the volume
    const found = await lstat(path).catch(vanished);
    newest = Math.max(newest, found?.mtimeMs ?? 0, found?.ctimeMs ?? 0);
    if (isOver(limits)) return undefined;
    // oxlint-disable-next-line no-await-in-loop -- as above
    const inside = found?.isDirectory() === true ? await entriesOf(path) : [];
    queue.push(...inside.slice(0, Math.max(0, AGE_ENTRIES - queue.length)));
  }
  return newest === 0 ? undefined : Math.max(0, (Date.now() - newest) / 1000);
}

async function entriesOf(directory: string): Promise<string[]> {
  const inside = (await readdir(directory).catch(vanished)) ?? [];
  return inside.map((name) => join(directory, name));
}

function vanished(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

/** Removes what is named and idle. One that cannot be removed is told with its reason and keeps no other. */
export async function removeStaging(
  storeRoot: string,
  { remove }: SweepRequest,
  limits: SweepLimits,
): Promise<SweepAnswer> {
  const root = await realpath(storeRoot);
  const kept: { dataset: string; name: string; reason: string }[] = [];
  let removed = 0;
  for (const { dataset, name, minIdleSeconds } of remove) {
    // oxlint-disable-next-line no-await-in-loop -- one tree at a time is gentle to the volume
    const reason = isOver(limits)
      ? 'no time left'
      : await removeOne(root, { dataset, name, minIdleSeconds }, limits).catch((error: unknown) =>
          error instanceof Error ? error.message : String(error),
        );
    if (reason === undefined) removed++;
    else kept.push({ dataset, name, reason: shorten(reason, 300) });
  }
  return { v: 1, removed, kept };
}

/** Why it was not removed; undefined when it is gone. */
async function removeOne(
  root: string,
  { dataset, name, minIdleSeconds }: SweepRequest['remove'][number],
  limits: SweepLimits,
): Promise<string | undefined> {
  const needed = Math.max(minIdleSeconds, limits.leastIdleSeconds);
  if (!NAME.test(name) || pathProblem(dataset) !== undefined) return 'is no staging of a task';
  const staging = join(root, dataset, STAGING.outputs, STAGING.staging);
  const real = await realpath(staging).catch(() => undefined);
  if (real !== staging) return 'is reached by a link, or is not there';
  const directory = join(staging, name);
  if (!(await isRealDirectory(directory))) return 'is no directory';
  if (name.startsWith(SWEPT)) return removeTree(directory);
  const idle = await idleOf(directory, limits);
  if (idle === undefined) return 'is gone, or no time was left to see how old it is';
  if (idle < needed) return `was written to ${Math.round(idle)} s ago, and ${needed} s are asked for`;
  const doomed = join(staging, `${SWEPT}${name}-${randomUUID().slice(0, 8)}`);
  await rename(directory, doomed);
  return removeTree(doomed);
}

async function removeTree(directory: string): Promise<undefined> {
  await rm(directory, { recursive: true, force: true, maxRetries: 2 });
}
