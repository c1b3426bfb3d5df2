import { createHash, hash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type { ModelOutput } from '../api/model.ts';
import { formatCheck } from './format.ts';
import { openUntrusted, statUntrusted } from './paths.ts';
import type { OpenFile, UntrustedTree } from './paths.ts';
import type { OutputRecord } from './records.ts';

export type OutputRule = Pick<ModelOutput, 'format' | 'allowEmpty'>;

/** Either the facts of a complete output or the second half of a sentence about what is wrong with it. */
export type Inspection = { readonly record: OutputRecord } | { readonly problem: string };

const BLOCK = 1048576;

/** Reads an output once: hashes it, checks its format and flushes it to the disk. */
export async function inspectOutput(
  tree: UntrustedTree,
  path: string,
  rule: OutputRule,
): Promise<Inspection> {
  const file = await openUntrusted(tree, path);
  if (file === 'missing') return { problem: 'was not written' };
  if (file === 'notRegular') return { problem: 'is not a regular file (links are no results)' };
  try {
    return await inspectOpen(file, path, rule);
  } finally {
    await file.handle.close();
  }
}

async function inspectOpen(file: OpenFile, path: string, rule: OutputRule): Promise<Inspection> {
  const { handle, stats: before } = file;
  if (before.size === 0 && !rule.allowEmpty) return { problem: 'is empty' };
  const check = formatCheck(before.size === 0 ? 'Any' : rule.format);
  const { size, sha256 } = await readAll(file, check.update);
  const problem = check.finish();
  if (problem !== undefined) return { problem };
  await handle.datasync();
  const { ino, mtimeMs, ctimeMs, size: after } = await handle.stat();
  if (after !== size || mtimeMs !== before.mtimeMs) return { problem: 'was still being written' };
  return { record: { path, size, sha256, ino, mtimeMs, ctimeMs } };
}

/** Reads a file of any size once, in bounded memory, and hashes it. */
export async function readAll(
  { handle, stats }: OpenFile,
  use: (chunk: Buffer) => void,
): Promise<{ readonly size: number; readonly sha256: string }> {
  // One byte more than the file holds tells its end, so a small file takes one read.
  const buffer = Buffer.allocUnsafe(Math.min(stats.size + 1, BLOCK));
  let sum: Hash | undefined;
  let position = 0;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- a file is read from front to back
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    const chunk = buffer.subarray(0, bytesRead);
    use(chunk);
    const isLast = bytesRead === 0 || position + bytesRead === stats.size;
    // A hash object outlives its use in native memory: most files do without.
    if (isLast && sum === undefined) return { size: bytesRead, sha256: hash('sha256', chunk) };
    sum = (sum ?? createHash('sha256')).update(chunk);
    position += bytesRead;
    if (isLast) return { size: position, sha256: sum.digest('hex') };
  }
}

/** Whether a file is still exactly what was recorded; a change time cannot be set back by the model. */
export async function stillRecorded(tree: UntrustedTree, record: OutputRecord): Promise<boolean> {
  const found = await statUntrusted(tree, record.path);
  if (found === undefined || !found.isFile()) return false;
  const { size, ino, mtimeMs, ctimeMs } = found;
  return (
    size === record.size && ino === record.ino && mtimeMs === record.mtimeMs && ctimeMs === record.ctimeMs
  );
}
