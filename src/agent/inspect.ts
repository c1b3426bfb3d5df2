import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { ModelOutput } from '../api/model.ts';
import { formatCheck } from './format.ts';
import { openUntrusted } from './paths.ts';
import type { OutputRecord } from './records.ts';

export type OutputRule = Pick<ModelOutput, 'format' | 'allowEmpty'>;

/** Either the facts of a complete output or the second half of a sentence about what is wrong with it. */
export type Inspection = { readonly record: OutputRecord } | { readonly problem: string };

const BLOCK = 262144;

/** Reads an output once: hashes it, checks its format and flushes it to the disk. */
export async function inspectOutput(root: string, path: string, rule: OutputRule): Promise<Inspection> {
  const handle = await openUntrusted(root, path);
  if (handle === 'missing') return { problem: 'was not written' };
  if (handle === 'notRegular') return { problem: 'is not a regular file (links are no results)' };
  try {
    return await inspectOpen(handle, path, rule);
  } finally {
    await handle.close();
  }
}

async function inspectOpen(handle: FileHandle, path: string, rule: OutputRule): Promise<Inspection> {
  const before = await handle.stat();
  if (before.size === 0 && !rule.allowEmpty) return { problem: 'is empty' };
  const check = formatCheck(before.size === 0 ? 'Any' : rule.format);
  const hash = createHash('sha256');
  const size = await readAll(handle, (chunk) => {
    hash.update(chunk);
    check.update(chunk);
  });
  const problem = check.finish();
  if (problem !== undefined) return { problem };
  await handle.datasync();
  const { ino, mtimeMs, ctimeMs, size: after } = await handle.stat();
  if (after !== size || mtimeMs !== before.mtimeMs) return { problem: 'was still being written' };
  return { record: { path, size, sha256: hash.digest('hex'), ino, mtimeMs, ctimeMs } };
}

async function readAll(handle: FileHandle, use: (chunk: Buffer) => void): Promise<number> {
  const buffer = Buffer.allocUnsafe(BLOCK);
  let position = 0;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- a file is read from front to back
    const { bytesRead } = await handle.read(buffer, 0, BLOCK, position);
    if (bytesRead === 0) return position;
    use(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Whether a file is still exactly what was recorded; a change time cannot be set back by the model. */
export async function stillRecorded(root: string, record: OutputRecord): Promise<boolean> {
  const handle = await openUntrusted(root, record.path);
  if (handle === 'missing' || handle === 'notRegular') return false;
  try {
    const { size, ino, mtimeMs, ctimeMs } = await handle.stat();
    return (
      size === record.size && ino === record.ino && mtimeMs === record.mtimeMs && ctimeMs === record.ctimeMs
    );
  } finally {
    await handle.close();
  }
}
