/**
 * manifest.json: the record of a published result. It is written before the rename that publishes, so whoever sees the
 * result sees its manifest. One entry per line; everything before "units" is on lines of its own, so that the head of a
 * manifest with 100 000 units is read without reading the rest.
 * Published files have mode 0664, directories 0775; both belong to the uid and gid of the task's pod.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { workReport } from '../api/request.ts';
import type { AgentReport } from '../api/request.ts';
import { isMissing } from './failure.ts';
import { linesOf, LongLineError } from './lines.ts';

export const MANIFEST = 'manifest.json';

const unitCounts = z.object({ total: z.int(), done: z.int(), failed: z.int(), reused: z.int() });

/** What the agent reads back from a manifest; unknown keys are left alone, so a later version may add some. */
const headSchema = z.object({
  schema: z.int(),
  identity: z.string(),
  task: z.object({ uid: z.string(), name: z.string(), namespace: z.string() }),
  summary: z.object({
    units: unitCounts,
    files: z.int(),
    bytes: z.int(),
    failedUnits: z.array(z.string()).max(4),
    retried: z.object({ copied: z.int(), rerun: z.int() }).optional(),
  }),
  pod: z.object({ uid: z.string() }).optional(),
  work: workReport.optional().catch(undefined),
  /** Published beyond what the model promised, without hashes; the first of them by name. */
  extra: z.object({ count: z.int(), paths: z.array(z.string()) }).optional(),
});
export type ManifestHead = z.infer<typeof headSchema>;

/** What stands at the place where results are to be published. */
export type Target =
  | { readonly kind: 'free' }
  | { readonly kind: 'ours'; readonly head: ManifestHead }
  | { readonly kind: 'other'; readonly owner: string };

const FIRST_LIST = '  "units": [';
const HEAD_LINES = 64;
const HEAD_CHARS = 1048576;

/** Reads the head of a manifest; undefined when it is missing or not one of ours. */
export async function readManifestHead(file: string): Promise<ManifestHead | undefined> {
  let text = '';
  let lines = 0;
  try {
    for await (const line of linesOf(file, HEAD_CHARS)) {
      if (line === FIRST_LIST) return parseHead(`${text.replace(/,\s*$/, '')}}`);
      text += line;
      if (++lines > HEAD_LINES || text.length > HEAD_CHARS) return undefined;
    }
  } catch (error) {
    if (!(error instanceof LongLineError)) throw error;
  }
  return undefined;
}

function parseHead(text: string): ManifestHead | undefined {
  try {
    return headSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Looks at the place of publication without following a link there. */
export async function inspectTarget(target: string, identity: string): Promise<Target> {
  try {
    const found = await lstat(target);
    if (!found.isDirectory())
      return { kind: 'other', owner: 'a file or link that is no result of this operator' };
    if (await isEmpty(target)) return { kind: 'free' };
  } catch (error) {
    if (isMissing(error)) return { kind: 'free' };
    throw error;
  }
  const manifest = join(target, MANIFEST);
  const head = (await isRegular(manifest)) ? await readManifestHead(manifest) : undefined;
  if (head === undefined) return { kind: 'other', owner: 'files without a manifest of this operator' };
  if (head.identity === identity) return { kind: 'ours', head };
  return {
    kind: 'other',
    owner: `the result of task ${head.task.namespace}/${head.task.name} (${head.identity})`,
  };
}

/** Looks at one entry only: a result may have a hundred thousand. */
async function isEmpty(directory: string): Promise<boolean> {
  const entries = await opendir(directory, { bufferSize: 1 });
  try {
    return (await entries.read()) === null;
  } finally {
    await entries.close();
  }
}

async function isRegular(file: string): Promise<boolean> {
  try {
    return (await lstat(file)).isFile();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** The report about a published result. Another pod's work is not told: it was reported with that pod's time. */
export async function publishedReport(
  target: { readonly directory: string; readonly relative: string },
  head: ManifestHead,
  { message, podUid }: { readonly message: string; readonly podUid: string },
): Promise<AgentReport> {
  const { units, files, bytes, failedUnits } = head.summary;
  const manifestSha256 = await hashFile(join(target.directory, MANIFEST));
  return {
    v: 1,
    message,
    units,
    ...(failedUnits.length > 0 ? { failedUnits } : {}),
    result: { path: target.relative, manifestSha256, files, bytes },
    ...(head.work !== undefined && head.pod?.uid === podUid ? { work: head.work } : {}),
  };
}

/** SHA-256 of a file in hexadecimal digits. */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest('hex');
}

/** A manifest: head keys one per line, then the lists, whose entries are on lines of their own already. */
export async function* manifestBlocks(
  head: Readonly<Record<string, unknown>>,
  lists: Readonly<Record<string, AsyncIterable<Buffer>>>,
): AsyncGenerator<string | Buffer> {
  const lines = Object.entries(head).map(
    ([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)},\n`,
  );
  yield `{\n${lines.join('')}`;
  let separator = '';
  for (const [key, entries] of Object.entries(lists)) {
    yield `${separator}  ${JSON.stringify(key)}: [\n`;
    yield* entries;
    yield '\n  ]';
    separator = ',\n';
  }
  yield '\n}\n';
}
