/** Files of one JSON value per line. Only `\n` ends a line: a file name may hold any other separator. */
import { createReadStream, createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { isMissing } from './failure.ts';

/** The lines of a file without their ends; nothing when the file is missing. */
export async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of createReadStream(file, { encoding: 'utf8', highWaterMark: 262144 })) {
      const lines = `${rest}${String(chunk)}`.split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  if (rest !== '') yield rest;
}

/** Writes lines to a new file as a stream and flushes it to the disk. */
export async function writeLines(file: string, lines: Iterable<string>): Promise<void> {
  const stream = createWriteStream(file, { mode: 0o664, flush: true });
  const closed = new Promise<void>((resolve, reject) => {
    stream.once('close', resolve);
    stream.once('error', reject);
  });
  closed.catch(() => undefined);
  for (const block of inBlocks(lines)) {
    // oxlint-disable-next-line no-await-in-loop -- back-pressure
    if (!stream.write(block)) await Promise.race([once(stream, 'drain'), closed]);
  }
  stream.end();
  await closed;
}

/** Joins many short lines, so that a stream is not called once per line. */
function* inBlocks(lines: Iterable<string>): Generator<string> {
  let block = '';
  for (const line of lines) {
    block += line;
    if (block.length < 65536) continue;
    yield block;
    block = '';
  }
  yield block;
}
