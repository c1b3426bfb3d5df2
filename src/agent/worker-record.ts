/**
 * worker.json: what a worker said in its pod. The observe sidecar writes it, out of the worker's reach; publish reads
 * it. It can make an attempt fail, never succeed.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { z } from 'zod';
import { AgentFailure, isMissing, shown } from './failure.ts';
import { shorten } from './report.ts';

const record = z.object({
  v: z.literal(1),
  /** When the task was handed out, and on which queue; whatever was said before counts no more. */
  handedAt: z.string(),
  queue: z.string(),
  completed: z.boolean(),
  /** The first reason that was given for a failure. */
  failure: z.string().exactOptional(),
});

export type WorkerRecord = Readonly<z.infer<typeof record>>;

const REASON_CHARS = 400;

/** A text of the worker as it may stand in a message: one line, bounded, without control characters. */
export function quoted(text: string, limit = REASON_CHARS): string {
  // First cut, then replaced: the text may be long.
  const line = text.slice(0, 4 * limit).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ');
  return shown(shorten(line.trim(), limit));
}

/** Puts the record in place by one rename, flushed: what was acknowledged to the worker outlives the sidecar. */
export async function writeWorkerRecord(file: string, content: WorkerRecord): Promise<void> {
  const handle = await open(`${file}.tmp`, 'w', 0o664);
  try {
    await handle.writeFile(JSON.stringify(content));
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.tmp`, file);
}

/** Undefined when the worker never got its task. Throws AgentError when the record is damaged. */
export async function readWorkerRecord(file: string): Promise<WorkerRecord | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return record.parse(JSON.parse(text));
  } catch (cause) {
    throw new AgentFailure('AgentError', `the record ${shown(file)} is damaged: start the task again`, {
      cause,
    });
  }
}

/** Why an attempt whose worker ended with exit code 0 has failed all the same; undefined when its outputs decide. */
export function workerFailure(said: WorkerRecord | undefined): AgentFailure | undefined {
  if (said === undefined) {
    return new AgentFailure(
      'ModelError',
      'the worker ended without taking its task: the image must start a LAAC worker that asks the Redis server named by REDIS_HOST and REDIS_PORT for one',
    );
  }
  if (said.failure !== undefined)
    return new AgentFailure('ModelError', `the worker reported a failure: ${quoted(said.failure)}`);
  if (said.completed) return undefined;
  return new AgentFailure(
    'ModelError',
    `the worker took its task from ${quoted(said.queue, 64)} and ended without reporting completion or failure. Read the model's log (kubectl logs <pod> -c model)`,
  );
}
