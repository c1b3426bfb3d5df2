/** Files of one JSON value per line. Only `\n` ends a line: a file name may hold any other separator. */
import { createReadStream } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { isMissing } from './failure.ts';

const BLOCK = 65536;

/** A line of a file that is not ours is longer than anybody wants to keep in memory. */
export class LongLineError extends Error {
  override readonly name = 'LongLineError';
}

/**
 * The lines of a file without their ends; nothing when the file is missing. Throws LongLineError for a line of more than
 * `maxChars`: name a bound for every file that the operator has not written itself.
 */
export async function* linesOf(file: string, maxChars = Number.POSITIVE_INFINITY): AsyncGenerator<string> {
  // The start of a line that goes over several chunks, in pieces: to join them each time would take quadratic time.
  let pieces: string[] = [];
  let chars = 0;
  try {
    for await (const chunk of createReadStream(file, { encoding: 'utf8', highWaterMark: BLOCK })) {
      const [first = '', ...more] = String(chunk).split('\n');
      pieces.push(first);
      chars += first.length;
      if (chars > maxChars)
        throw new LongLineError(`a line of ${file} is longer than ${maxChars} characters`);
      const last = more.pop();
      if (last === undefined) continue;
      yield pieces.join('');
      yield* more;
      pieces = [last];
      chars = last.length;
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  if (chars > 0) yield pieces.join('');
}

/** Writes lines to a new file as a stream and flushes it to the disk. */
export async function writeLines(
  file: string,
  lines: Iterable<string> | AsyncIterable<string | Buffer>,
): Promise<void> {
  const blocks = Symbol.asyncIterator in lines ? lines : inBlocks(lines);
  await writeFile(file, blocks, { mode: 0o664, flush: true });
}

/** Joins many short lines, so that the file system is not called once per line. */
function* inBlocks(lines: Iterable<string>): Generator<string> {
  let block = '';
  for (const line of lines) {
    block += line;
    if (block.length < BLOCK) continue;
    yield block;
    block = '';
  }
  yield block;
}

/**
 * A text that grows on the disk. An error of the disk is kept until the end: whoever writes may learn something more
 * telling meanwhile.
 */
export class TextWriter {
  readonly #handle: FileHandle;
  #block = '';
  #error: unknown;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Starts an empty file. */
  static async create(file: string): Promise<TextWriter> {
    return new TextWriter(await open(file, 'w', 0o664));
  }

  /** What is added waits in memory for drain(). */
  add(text: string): void {
    this.#block += text;
  }

  /** Lets a large block go to the disk. */
  async drain(): Promise<void> {
    if (this.#block.length >= BLOCK) await this.#write();
  }

  async #write(): Promise<void> {
    const block = this.#block;
    this.#block = '';
    if (this.#error !== undefined) return;
    try {
      await this.#handle.appendFile(block);
    } catch (error) {
      this.#error = error;
    }
  }

  /** Writes the rest and flushes it to the disk. Throws what went wrong since the start. */
  async finish(): Promise<void> {
    try {
      await this.#write();
      if (this.#error !== undefined) throw this.#error;
      await this.#handle.datasync();
    } finally {
      await this.close();
    }
  }

  /** Closes the file as it is; does nothing after finish(). */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
