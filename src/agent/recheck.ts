/**
 * Is a published outputs directory still what its manifest says? Reads the manifest as a stream and every file once, in
 * pieces: memory grows with the names of the files, not with their content or number of units.
 *
 * What has a hash in the manifest is hashed again. What the model wrote beyond its promises was published without a
 * hash (the manifest's `extra`), so only its presence is checked; the manifest lists the first of these by name.
 */
import { lstat, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isMissing } from './failure.ts';
import { readAll } from './inspect.ts';
import { linesOf } from './lines.ts';
import { hashFile, MANIFEST, readManifestHead } from './manifest.ts';
import type { ManifestHead } from './manifest.ts';
import { openUntrusted, pathProblem } from './paths.ts';
import type { OpenFile, UntrustedTree } from './paths.ts';
import { RESERVED_OUTPUTS } from './plan.ts';

/** One difference between the manifest and the directory. */
export interface Drift {
  readonly kind: 'missing' | 'changed' | 'extra' | 'unreadable' | 'manifest';
  /** Relative to the outputs directory. */
  readonly path: string;
  /** Second half of a sentence about the file. */
  readonly detail: string;
}

export interface RecheckOptions {
  /** Files that are read at the same time. */
  readonly concurrency: number;
  /** SHA-256 that the manifest itself must have, as the task's status.result tells it. */
  readonly manifestSha256?: string;
  /** Called with each difference as it is found. */
  readonly onDrift: (drift: Drift) => void;
  /** Called after each file. */
  readonly onFile?: (progress: Progress) => void;
}

/** What was read so far. */
interface Checked {
  readonly files: number;
  readonly bytes: number;
}

/** How far a check is; `total` is what the manifest promises. */
export interface Progress extends Checked {
  readonly total: number;
}

export interface Recheck extends Checked {
  readonly head: ManifestHead;
  readonly manifestSha256: string;
  readonly drift: number;
}

const OUTPUTS = '  "outputs": [';
const END = '}';

const outputEntry = z.object({
  path: z.string().refine((path) => pathProblem(path) === undefined),
  size: z.int().min(0),
  sha256: z.string(),
});
type OutputEntry = z.infer<typeof outputEntry>;

/** Thrown when there is nothing that could be checked. The message says why, and what to name instead. */
export class NotOutputsError extends Error {
  override readonly name = 'NotOutputsError';
}

/** Checks a published directory. Throws NotOutputsError when it holds no manifest of this operator. */
export async function recheckOutputs(directory: string, options: RecheckOptions): Promise<Recheck> {
  const root = await outputsRoot(directory);
  const manifest = join(root, MANIFEST);
  const head = await readManifestHead(manifest);
  if (head === undefined)
    throw new NotOutputsError(
      `${directory} holds no ${MANIFEST} of this operator: name a directory below a dataset's outputs/, such as store/lab1/corpus/outputs/my-task`,
    );
  const run: Run = { tree: { root }, options, head, known: new Set(RESERVED_OUTPUTS), ...NOTHING };
  await checkManifestHash(run, manifest);
  await checkListed(run, manifest);
  await checkPresence(run);
  await findExtra(run);
  return {
    head,
    manifestSha256: run.manifestSha256,
    files: run.files,
    bytes: run.bytes,
    drift: run.drift,
  };
}

const NOTHING = { manifestSha256: '', listed: 0, listedBytes: 0, files: 0, bytes: 0, drift: 0 };

interface Run {
  readonly tree: UntrustedTree;
  readonly options: RecheckOptions;
  readonly head: ManifestHead;
  /** Every path that may be there. */
  readonly known: Set<string>;
  manifestSha256: string;
  /** Entries of the manifest's outputs, and the sum of their sizes. */
  listed: number;
  listedBytes: number;
  files: number;
  bytes: number;
  drift: number;
}

async function outputsRoot(directory: string): Promise<string> {
  try {
    const root = await realpath(directory);
    if ((await lstat(root)).isDirectory()) return root;
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new NotOutputsError(`${directory} does not exist: check the spelling`, { cause: error });
  }
  throw new NotOutputsError(`${directory} is a file: name the directory that holds ${MANIFEST}`);
}

function report(run: Run, kind: Drift['kind'], path: string, detail: string): void {
  run.drift++;
  run.options.onDrift({ kind, path, detail });
}

async function checkManifestHash(run: Run, manifest: string): Promise<void> {
  run.manifestSha256 = await hashFile(manifest);
  const { manifestSha256: wanted } = run.options;
  if (wanted !== undefined && wanted.toLowerCase() !== run.manifestSha256)
    report(run, 'manifest', MANIFEST, `has SHA-256 ${run.manifestSha256} instead of ${wanted}`);
}

/** Hashes what the manifest lists, several files at a time from one stream of entries. */
async function checkListed(run: Run, manifest: string): Promise<void> {
  const entries = listedOutputs(run, manifest);
  const worker = async (): Promise<void> => {
    for await (const entry of entries) await checkFile(run, entry);
  };
  await Promise.all(Array.from({ length: Math.max(1, run.options.concurrency) }, worker));
  const { files, bytes } = run.head.summary;
  if (run.listed !== files || run.listedBytes !== bytes)
    report(
      run,
      'manifest',
      MANIFEST,
      `lists ${run.listed} files of ${run.listedBytes} bytes, but its summary says ${files} files of ${bytes} bytes`,
    );
}

/** The outputs that a manifest lists. Damage is reported and ends the list. */
async function* listedOutputs(run: Run, manifest: string): AsyncGenerator<OutputEntry> {
  let inside = false;
  let last = '';
  for await (const line of linesOf(manifest)) {
    last = line;
    if (line === OUTPUTS) inside = true;
    else if (inside && line.startsWith('    ')) {
      const entry = parseEntry(line);
      if (entry === undefined)
        return report(run, 'manifest', MANIFEST, `is damaged at ${JSON.stringify(line.slice(0, 120))}`);
      if (run.known.has(entry.path)) {
        report(run, 'manifest', MANIFEST, `lists ${JSON.stringify(entry.path)} twice`);
        continue;
      }
      run.known.add(entry.path);
      run.listed++;
      run.listedBytes += entry.size;
      yield entry;
    } else if (line.startsWith('  ]')) inside = false;
  }
  if (last !== END) report(run, 'manifest', MANIFEST, 'is cut off: it does not end with a bracket');
}

function parseEntry(line: string): OutputEntry | undefined {
  const text = line.endsWith(',') ? line.slice(0, -1) : line;
  try {
    return outputEntry.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

async function checkFile(run: Run, entry: OutputEntry): Promise<void> {
  await checkOpen(run, entry.path, (file) => compare(run, entry, file));
  run.files++;
  run.options.onFile?.({ files: run.files, bytes: run.bytes, total: run.head.summary.files });
}

/** Reports a file that is not there, is no file or cannot be read, and goes on. */
async function checkOpen(run: Run, path: string, use?: (file: OpenFile) => Promise<void>): Promise<void> {
  try {
    const file = await openUntrusted(run.tree, path);
    if (file === 'missing') return report(run, 'missing', path, 'is not there any more');
    if (file === 'notRegular') return report(run, 'changed', path, 'is no longer a regular file');
    try {
      await use?.(file);
    } finally {
      await file.handle.close();
    }
  } catch (error) {
    report(run, 'unreadable', path, `cannot be read: ${messageOf(error)}`);
  }
}

async function compare(run: Run, entry: OutputEntry, file: OpenFile): Promise<void> {
  const { size } = file.stats;
  if (size !== entry.size)
    return report(run, 'changed', entry.path, `has ${size} bytes instead of ${entry.size}`);
  const { sha256 } = await readAll(file, (chunk) => (run.bytes += chunk.length));
  if (sha256 !== entry.sha256)
    report(run, 'changed', entry.path, `has SHA-256 ${sha256} instead of ${entry.sha256}`);
}

/** What was published without a hash must still be there. */
async function checkPresence(run: Run): Promise<void> {
  for (const path of [...RESERVED_OUTPUTS, ...(run.head.extra?.paths ?? [])]) {
    run.known.add(path);
    if (pathProblem(path) !== undefined) continue;
    // oxlint-disable-next-line no-await-in-loop -- at most a thousand, after the files that were read whole
    await checkOpen(run, path);
  }
}

/** Files that nobody published. Beyond the listed extra files only their number can be compared. */
async function findExtra(run: Run): Promise<void> {
  const { count = 0, paths = [] } = run.head.extra ?? {};
  const unlisted = count - paths.length;
  let found = 0;
  for await (const path of unknownFiles(run, '')) {
    found++;
    if (unlisted === 0) report(run, 'extra', path, 'is not in the manifest');
  }
  if (unlisted > 0 && found !== unlisted)
    report(
      run,
      found < unlisted ? 'missing' : 'extra',
      '.',
      `holds ${found} files that the manifest does not name, but ${unlisted} were published`,
    );
}

/** Walks without following links; one directory at a time bounds memory and open handles. */
async function* unknownFiles(run: Run, below: string): AsyncGenerator<string> {
  const entries = await readdir(join(run.tree.root, below), { withFileTypes: true }).catch(
    (error: unknown) => {
      report(run, 'unreadable', below === '' ? '.' : below, `cannot be listed: ${messageOf(error)}`);
      return [];
    },
  );
  for (const entry of entries) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) yield* unknownFiles(run, path);
    else if (!run.known.has(path)) yield path;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
