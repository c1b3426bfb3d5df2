/**
 * Where finished units can be copied from: the staging of a pod, or a published result. Nothing there is believed but
 * hashes that this operator wrote where no model could: the records of a pod, the manifest of a result.
 */
import { lstat, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { AgentRequest } from '../api/request.ts';
import { isMissing, shown } from './failure.ts';
import { linesOf } from './lines.ts';
import { hashFile, MANIFEST, readManifestHead } from './manifest.ts';
import { insidePod, joinBelow } from './paths.ts';
import type { Places } from './places.ts';
import { recordsOf, OutputBook } from './records.ts';

type RetryOf = NonNullable<AgentRequest['retryOf']>;

/** What is known to be finished at one place. */
export interface Finished {
  /** Keys of units, each with the UID of the task from which an earlier attempt copied it. */
  readonly units: ReadonlyMap<string, string | undefined>;
  readonly outputs: OutputBook;
}

export interface Source {
  /** Absolute, without links; outputs stand below it. */
  readonly out: string;
  /** Reads what is finished there: one source after the other, for they may be large. */
  readonly finished: () => Promise<Finished>;
  /** Another task, whose units these are, and how its place is called in messages. */
  readonly other?: { readonly uid: string; readonly place: string };
}

/** Places in the staging directory of a pod. */
export type Pod = ReturnType<typeof insidePod>;

/** Staging directories of the pods of a task. */
export async function podsOf(task: string): Promise<Pod[]> {
  const entries = await readdir(task, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => insidePod(join(task, name)));
}

/** The staging of a pod, with what its observe recorded. */
export function podSource({ out, records }: Pod, other?: Source['other']): Source {
  const finished = async (): Promise<Finished> => {
    const units = new Map<string, string | undefined>();
    const book = new OutputBook();
    for await (const { key, outputs, from } of recordsOf(records)) {
      units.set(key, other?.uid ?? from);
      for (const output of outputs) book.add(output);
    }
    return { units, outputs: book };
  };
  return { out, finished, ...(other ? { other } : {}) };
}

/**
 * Where the task that is retried left finished units: its published result, else the staging of its pods. `tell` gets
 * a sentence when its result cannot be used.
 */
export async function retrySources(
  retryOf: RetryOf,
  places: Places,
  tell: (sentence: string) => void,
): Promise<Source[]> {
  const published = await publishedSource(retryOf, places, tell);
  return [...(published ? [published] : []), ...(await stagingSources(retryOf, places))];
}

async function stagingSources({ uid, name }: RetryOf, { staging }: Places): Promise<Source[]> {
  const task = joinBelow(staging.allStaging, uid, 'retryOf.uid');
  if (!(await isRealDirectory(task))) return [];
  const pods = (await podsOf(task).catch(gone)) ?? [];
  return pods.map((pod) => podSource(pod, { uid, place: `the staging of task ${shown(name)}` }));
}

async function publishedSource(
  retryOf: RetryOf,
  { staging }: Places,
  tell: (sentence: string) => void,
): Promise<Source | undefined> {
  const { outputName, uid, name } = retryOf;
  if (outputName === undefined) return undefined;
  const out = joinBelow(staging.outputs, outputName, 'retryOf.outputName');
  const problem = await resultProblem(out, retryOf);
  if (problem !== undefined) {
    tell(`nothing is reused from outputs/${outputName}, the result of task ${shown(name)}: ${problem}`);
    return undefined;
  }
  const finished = (): Promise<Finished> => readManifest(join(out, MANIFEST), uid);
  return { out, finished, other: { uid, place: `outputs/${outputName}` } };
}

/** Why a directory is not the result that the task published, as a clause; undefined when it is. */
async function resultProblem(directory: string, retryOf: RetryOf): Promise<string | undefined> {
  const manifest = join(directory, MANIFEST);
  if (!(await isRealDirectory(directory))) return 'it is not there any more, or a link stands in its place';
  const found = await lstat(manifest).catch(gone);
  if (found?.isFile() !== true) return `it holds no ${MANIFEST}`;
  const { manifestSha256: wanted, identity } = retryOf;
  if (wanted !== undefined && (await hashFile(manifest)) !== wanted)
    return `its ${MANIFEST} is not the one that was published`;
  const head = await readManifestHead(manifest);
  return head?.identity === identity ? undefined : 'another task has published there';
}

async function isRealDirectory(path: string): Promise<boolean> {
  const real = await realpath(path).catch(gone);
  return real === path && (await lstat(path)).isDirectory();
}

function gone(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

const unitEntry = z.object({ key: z.string(), outcome: z.string() });
const outputEntry = z.object({
  path: z.string(),
  size: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const LIST = /^ {2}"(\w+)": \[$/;

/** The finished units of a manifest and the hashes of all outputs. An entry that is damaged is none. */
async function readManifest(file: string, task: string): Promise<Finished> {
  const units = new Map<string, string>();
  const outputs = new OutputBook();
  let list: string | undefined;
  for await (const line of linesOf(file)) {
    list = LIST.exec(line)?.[1] ?? list;
    if (!line.startsWith('    ')) continue;
    if (list === 'units') {
      const unit = unitEntry.safeParse(entryOf(line)).data;
      if (unit?.outcome === 'Done' || unit?.outcome === 'Reused') units.set(unit.key, task);
    } else if (list === 'outputs') {
      const output = outputEntry.safeParse(entryOf(line)).data;
      if (output) outputs.add({ ...output, ...NO_FILE });
    }
  }
  return { units, outputs };
}

/** A manifest names no inode: a published file may have been copied back from a backup. */
const NO_FILE = { ino: 0, mtimeMs: 0, ctimeMs: 0 };

function entryOf(line: string): unknown {
  try {
    return JSON.parse(line.endsWith(',') ? line.slice(0, -1) : line);
  } catch {
    return undefined;
  }
}
