/**
 * Does the file system of the store keep the promises that publication rests on? Each check is tried on real files in a
 * directory of its own and names what was seen. To be run once per volume, before the first task.
 */
import * as realFiles from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { errorCode } from './failure.ts';

/** The calls that are tried; a test passes a file system that breaks one of them. */
export interface FileCalls
  extends Pick<
    typeof realFiles,
    'chmod' | 'mkdir' | 'open' | 'readFile' | 'rename' | 'rm' | 'stat' | 'writeFile'
  > {
  readonly readdir: (path: string) => Promise<string[]>;
}

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  /** What was seen; for a failed check also what it means. */
  readonly evidence: string;
}

const RACERS = 16;

/**
 * Runs all checks below `directory` and removes what they made. Throws an error of the file system when nothing can be
 * written there at all.
 */
export async function selfTest(directory: string, files: FileCalls = realFiles): Promise<CheckResult[]> {
  const place = join(directory, `.analysis-selftest-${randomUUID()}`);
  await files.mkdir(place);
  try {
    const results: CheckResult[] = [];
    for (const [name, check] of CHECKS) {
      const room = join(place, String(results.length));
      // oxlint-disable-next-line no-await-in-loop -- one check at a time, so that evidence belongs to it
      results.push(await run(name, check, { files, room }));
    }
    return results;
  } finally {
    await files.rm(place, { recursive: true, force: true, maxRetries: 3 });
  }
}

interface Room {
  readonly files: FileCalls;
  /** An empty directory of this check. */
  readonly room: string;
}

/** Resolves with the evidence; throws BrokenPromise with evidence and meaning. */
type Check = (room: Room) => Promise<string>;

class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise';
}

async function run(name: string, check: Check, room: Room): Promise<CheckResult> {
  try {
    await room.files.mkdir(room.room);
    return { name, ok: true, evidence: await check(room) };
  } catch (error) {
    return { name, ok: false, evidence: error instanceof Error ? error.message : String(error) };
  }
}

const CHECKS: readonly (readonly [string, Check])[] = [
  ['rename of a directory to a new name', renamesToNewName],
  ['rename of a directory over a filled one is refused', refusesFilledTarget],
  ['rename of a directory replaces an empty one', replacesEmptyTarget],
  ['exclusive create has one winner', createsExclusively],
  ['fsync of files and directories', flushes],
  ['file names keep their case and their bytes', keepsNames],
  ['permissions can be set', setsModes],
];

async function filled(files: FileCalls, path: string, content: string): Promise<void> {
  await files.mkdir(path);
  await files.writeFile(join(path, 'file'), content);
}

async function renamesToNewName({ files, room }: Room): Promise<string> {
  const [from, to] = [join(room, 'from'), join(room, 'to')];
  await filled(files, from, 'a');
  await files.rename(from, to);
  const content = await files.readFile(join(to, 'file'), 'utf8');
  const names = await files.readdir(room);
  if (content === 'a' && names.join(' ') === 'to') return 'the content is at the new name only';
  throw new BrokenPromise(
    `after the rename the directory lists ${JSON.stringify(names)} and the file holds "${content}"`,
  );
}

/** A publication must never replace somebody else's results. */
async function refusesFilledTarget({ files, room }: Room): Promise<string> {
  const [from, to] = [join(room, 'from'), join(room, 'to')];
  await filled(files, from, 'new');
  await filled(files, to, 'old');
  const code = await files.rename(from, to).then(
    () => undefined,
    (error: unknown) => errorCode(error) ?? String(error),
  );
  const content = await files.readFile(join(to, 'file'), 'utf8');
  if (code === undefined || content !== 'old')
    throw new BrokenPromise(
      `rename ${code === undefined ? 'succeeded' : `failed with ${code}`} and the target holds "${content}": results of another task could be replaced`,
    );
  if (code === 'ENOTEMPTY' || code === 'EEXIST') return `${code}, both directories are untouched`;
  throw new BrokenPromise(`rename failed with ${code} instead of ENOTEMPTY or EEXIST`);
}

async function replacesEmptyTarget({ files, room }: Room): Promise<string> {
  const [from, to] = [join(room, 'from'), join(room, 'to')];
  await filled(files, from, 'new');
  await files.mkdir(to);
  await files.rename(from, to);
  const content = await files.readFile(join(to, 'file'), 'utf8');
  if (content === 'new') return 'the empty directory was replaced';
  throw new BrokenPromise(`the target holds "${content}" after the rename`);
}

async function createsExclusively({ files, room }: Room): Promise<string> {
  const path = join(room, 'once');
  const outcomes = await Promise.all(
    Array.from({ length: RACERS }, async () => {
      try {
        await (await files.open(path, 'wx')).close();
        return 'created';
      } catch (error) {
        return errorCode(error) ?? String(error);
      }
    }),
  );
  const winners = outcomes.filter((outcome) => outcome === 'created').length;
  const others = [...new Set(outcomes.filter((outcome) => outcome !== 'created'))];
  if (winners === 1 && others.join() === 'EEXIST')
    return `1 of ${RACERS} creators won, the others got EEXIST`;
  throw new BrokenPromise(
    `${winners} of ${RACERS} exclusive creators of one file won (the others got ${others.join(', ') || 'nothing'}): two writers could believe to be alone`,
  );
}

async function flushes({ files, room }: Room): Promise<string> {
  const file = await files.open(join(room, 'file'), 'wx');
  try {
    await file.writeFile('a');
    await file.sync();
  } finally {
    await file.close();
  }
  const directory = await files.open(room, 'r');
  try {
    await directory.sync();
    return 'both succeeded';
  } catch (error) {
    const code = errorCode(error);
    // Some network file systems write entries through and refuse to flush them; publish lives with that.
    if (code === 'EINVAL' || code === 'ENOTSUP') return `files are flushed; directories answer ${code}`;
    throw error;
  } finally {
    await directory.close();
  }
}

/** Two recordings whose names differ in case only must not share an output. */
async function keepsNames({ files, room }: Room): Promise<string> {
  const wanted = ['A', 'a', 'é\u0301 (2)'];
  for (const name of wanted) await files.writeFile(join(room, name), name, { flag: 'wx' }); // oxlint-disable-line no-await-in-loop -- three files
  const found = new Set(await files.readdir(room));
  if (found.size === wanted.length && wanted.every((name) => found.has(name)))
    return 'A, a and a name in Unicode are listed as written';
  throw new BrokenPromise(`${JSON.stringify(wanted)} are listed as ${JSON.stringify([...found])}`);
}

async function setsModes({ files, room }: Room): Promise<string> {
  const path = join(room, 'file');
  await files.writeFile(path, '');
  await files.chmod(path, 0o664);
  await files.chmod(room, 0o775);
  const [file, directory] = await Promise.all([files.stat(path), files.stat(room)]);
  const seen = [file, directory].map(({ mode }) => (mode & 0o777).toString(8)).join(' and ');
  if (seen === '664 and 775') return 'files 664, directories 775';
  throw new BrokenPromise(`chmod to 664 and 775 gave ${seen}: others could not read published results`);
}
