/** units.jsonl: what observe saw finished, appended and flushed; the model cannot write it. */
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { linesOf } from './lines.ts';

const outputRecord = z.object({
  path: z.string(),
  size: z.number(),
  sha256: z.string(),
  /** Identity of the file when it was hashed: as long as all three stand, the hash does. */
  ino: z.number(),
  mtimeMs: z.number(),
  ctimeMs: z.number(),
});

const unitRecord = z.object({ id: z.string(), key: z.string(), outputs: z.array(outputRecord) });

export type OutputRecord = Readonly<z.infer<typeof outputRecord>>;
export type UnitRecord = Readonly<z.infer<typeof unitRecord>>;

/** Reads the records that are whole; a line torn by a crash is passed over. The last record of a unit counts. */
export async function readRecords(file: string): Promise<Map<string, UnitRecord>> {
  const records = new Map<string, UnitRecord>();
  for await (const line of linesOf(file)) {
    const record = parseRecord(line);
    if (record !== undefined) records.set(record.key, record);
  }
  return records;
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
