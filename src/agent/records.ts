/** units.jsonl: what observe saw finished, appended and flushed; the model cannot write it. */
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { linesOf } from './lines.ts';

const outputRecord = z.object({
  path: z.string(),
  size: z.number(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Identity of the file when it was hashed: as long as all three stand, the hash does. */
  ino: z.number(),
  mtimeMs: z.number(),
  ctimeMs: z.number(),
});

const unitRecord = z.object({
  id: z.string(),
  key: z.string(),
  outputs: z.array(outputRecord),
  /** UID of the task from which it was copied, when that is another one. */
  from: z.string().exactOptional(),
});

export type OutputRecord = Readonly<z.infer<typeof outputRecord>>;
export type UnitRecord = Readonly<z.infer<typeof unitRecord>>;

/** The records that are whole, in the order in which they were written; a line torn by a crash is passed over. */
export async function* recordsOf(file: string): AsyncGenerator<UnitRecord> {
  for await (const line of linesOf(file)) {
    const record = parseRecord(line);
    if (record !== undefined) yield record;
  }
}

function parseRecord(line: string): UnitRecord | undefined {
  try {
    return unitRecord.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** Appends records and flushes them. Starts on a new line, in case the last writer was killed within one. */
export async function appendRecords(file: string, records: readonly UnitRecord[]): Promise<void> {
  if (records.length === 0) return;
  const handle = await open(file, 'a', 0o664);
  try {
    await handle.appendFile(`\n${records.map((record) => `${JSON.stringify(record)}\n`).join('')}`);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** Facts about many outputs, by path, without an object for each: they wait until publish comes to them. */
export class OutputBook {
  readonly #rows = new Map<string, number>();
  readonly #hashes: Buffer[] = [];
  readonly #numbers: Float64Array[] = [];

  add({ path, sha256, size, ino, mtimeMs, ctimeMs }: OutputRecord): void {
    const row = this.#rows.get(path) ?? this.#rows.size;
    this.#rows.set(path, row);
    const [block, at] = [Math.floor(row / ROWS), row % ROWS];
    const hashes = (this.#hashes[block] ??= Buffer.alloc(ROWS * HASH_BYTES));
    const numbers = (this.#numbers[block] ??= new Float64Array(ROWS * NUMBERS));
    hashes.write(sha256, at * HASH_BYTES, 'hex');
    numbers.set([size, ino, mtimeMs, ctimeMs], at * NUMBERS);
  }

  get(path: string): OutputRecord | undefined {
    const row = this.#rows.get(path);
    if (row === undefined) return undefined;
    const [block, at] = [Math.floor(row / ROWS), row % ROWS];
    const [size = 0, ino = 0, mtimeMs = 0, ctimeMs = 0] =
      this.#numbers[block]?.subarray(at * NUMBERS, (at + 1) * NUMBERS) ?? [];
    const sha256 = this.#hashes[block]?.toString('hex', at * HASH_BYTES, (at + 1) * HASH_BYTES) ?? '';
    return { path, sha256, size, ino, mtimeMs, ctimeMs };
  }
}

const ROWS = 4096;
const HASH_BYTES = 32;
const NUMBERS = 4;
