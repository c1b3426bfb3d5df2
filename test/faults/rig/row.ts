import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { it } from 'mocha';
import { z } from 'zod';
import { messageOf } from '../../../src/controller/settle.ts';
import { ROOT } from '../../../hack/gen/files.ts';

/*
 * Which rows and plans this process runs, and the record of how they ended. Set by the runner (hack/faults/main.ts):
 *   FAULTS_ONLY=ID,ID     these and nothing else
 *   FAULTS_SMOKE=1        the short choice that `make test` runs
 *   SHARD=i/n             the i-th (from 1) of n equal parts
 *   FAULTS_RESULTS=file   where results are appended; what passed there is not run again
 */

export const result = z.object({
  id: z.string(),
  title: z.string(),
  ok: z.boolean(),
  ms: z.number(),
  error: z.string().optional(),
  /** Of a mutant: how the row that caught it failed. */
  said: z.string().optional(),
});
export type Result = z.output<typeof result>;

const env = process.env;
const only = env['FAULTS_ONLY'] ? new Set(env['FAULTS_ONLY'].split(',')) : undefined;
const resultsFile = env['FAULTS_RESULTS'] ?? '';
const passed = new Set(
  readResults(resultsFile)
    .filter(({ ok }) => ok)
    .map(({ id }) => id),
);

export function readResults(file: string): Result[] {
  if (file === '' || !existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => result.parse(JSON.parse(line)));
}

export interface RowOptions {
  /** Part of the short choice. */
  readonly smoke?: boolean;
}

/** One named row of the fault matrix, or one plan. Ids are unique; a row that is not chosen is not even registered. */
export function row(
  id: string,
  title: string,
  run: () => Promise<void>,
  { smoke = false }: RowOptions = {},
): void {
  if (registered.has(id)) throw new Error(`two rows are called ${id}`);
  registered.add(id);
  if (!isChosen(id, smoke)) return;
  it(`${id} ${title}`, async function () {
    this.timeout(ROW_TIMEOUT_MS);
    const started = performance.now();
    const record = (error?: unknown): void =>
      note({
        id,
        title,
        ok: error === undefined,
        ms: Math.round(performance.now() - started),
        ...(error === undefined ? {} : { error: messageOf(error).slice(0, 6000) }),
      });
    await run().then(
      () => record(),
      (error: unknown) => {
        record(error);
        throw error;
      },
    );
  });
}

const registered = new Set<string>();

/** A row takes no longer, whatever it waits for; mocha gives it a little more, so that its world can close. */
export const ROW_LIMIT_MS = 270_000;
const ROW_TIMEOUT_MS = 300_000;

function isChosen(id: string, smoke: boolean): boolean {
  if (only) return only.has(id);
  if (env['FAULTS_SMOKE'] === '1' && !smoke) return false;
  if (passed.has(id)) return false;
  const [part = 1, parts = 1] = (env['SHARD'] ?? '1/1').split('/').map(Number);
  return createHash('sha256').update(id).digest().readUInt32BE(0) % parts === part - 1;
}

function note(entry: Result): void {
  if (resultsFile === '') return;
  mkdirSync(join(ROOT, 'build', 'faults'), { recursive: true });
  appendFileSync(resultsFile, `${JSON.stringify(entry)}\n`);
}
