import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import { after } from 'mocha';
import { z } from 'zod';
import { run } from '../../hack/cluster/exec.ts';
import { ROOT } from '../../hack/gen/files.ts';
import { messageOf } from '../../src/controller/settle.ts';

/** The sources that an upgrade starts from. */
export interface Previous {
  /** A whole checkout, with the packages of this one. */
  readonly directory: string;
  /** Its commit and what that says of itself. */
  readonly revision: string;
  /** False where there is no history: then the present sources stand for the previous ones. */
  readonly isAnother: boolean;
}

const GIT_MS = 60_000;
const PACKAGES = join(ROOT, 'node_modules');
let found: Promise<Previous> | undefined;

// Importing this module is what registers the hook.
after('remove the previous sources', async function () {
  this.timeout(60_000);
  const previous = await found?.catch(() => undefined);
  if (previous?.isAnother) await rm(dirname(previous.directory), { recursive: true, force: true });
});

/**
 * Takes the sources of the revision that `UPGRADE_FROM` names out of git, once per process; the commit before this one
 * by default. Says on the console which ones they are.
 */
export function previousSource(): Promise<Previous> {
  return (found ??= take());
}

async function take(): Promise<Previous> {
  const asked = process.env['UPGRADE_FROM'] ?? '';
  const wanted = asked === '' ? 'HEAD~1' : asked;
  try {
    const commit = (await resolve(wanted)) ?? ((await deepened()) ? await resolve(wanted) : undefined);
    if (commit === undefined) throw new Error(`git knows no commit "${wanted}" here`);
    return await extract(commit);
  } catch (error) {
    // Who asked for a certain one must get it; else no test fails because of how this was checked out.
    if (asked !== '') throw new Error(`UPGRADE_FROM is "${asked}": ${messageOf(error)}`, { cause: error });
    console.log(`\n    !!! THE PRESENT SOURCES STAND FOR THE PREVIOUS ONES: ${messageOf(error)} !!!`);
    return { directory: ROOT, revision: 'the present sources', isAnother: false };
  }
}

async function extract(commit: string): Promise<Previous> {
  const place = await mkdtemp(join(tmpdir(), 'previous-'));
  const [directory, archive] = [join(place, 'sources'), join(place, 'sources.tar')];
  await git('archive', '--format=tar', `--output=${archive}`, commit);
  await mkdir(directory);
  await run('tar', ['-xf', archive, '-C', directory]);
  await rm(archive);
  await symlink(PACKAGES, join(directory, 'node_modules'));
  await installFormerPackages(directory, place);
  const revision = (await git('show', '--no-patch', '--format=%h %s', commit)).trim();
  console.log(`\n    the previous sources are those of ${revision}`);
  return { directory, revision, isAnother: true };
}

const manifest = z.object({ dependencies: z.record(z.string(), z.string()) });

/** What the previous sources need and this checkout does not have any more goes where Node looks next. */
async function installFormerPackages(directory: string, place: string): Promise<void> {
  const { dependencies } = manifest.parse(
    JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')),
  );
  const former = Object.entries(dependencies)
    .filter(([name]) => !existsSync(join(PACKAGES, name)))
    .map(([name, version]) => `${name}@${version}`);
  const quiet = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error'];
  if (former.length > 0) await run('npm', ['install', '--prefix', place, ...quiet, ...former]);
}

/** Also in a checkout that belongs to somebody else, as in a container. */
const git = (...args: readonly string[]): Promise<string> =>
  run('git', ['-C', ROOT, '-c', 'safe.directory=*', ...args], {
    timeoutMs: GIT_MS,
    env: { GIT_TERMINAL_PROMPT: '0' },
  });

/** What git says, or undefined where there is no git, no history or no such thing. */
const answer = (...args: readonly string[]): Promise<string | undefined> =>
  git(...args).then(
    (text) => text.trim(),
    () => undefined,
  );

async function resolve(revision: string): Promise<string | undefined> {
  const top = await answer('rev-parse', '--show-toplevel');
  // Sources that lie, without a history of their own, inside of another project's.
  if (top === undefined || relative(top, ROOT) !== '') return undefined;
  return answer('rev-parse', '--verify', '--quiet', `${revision}^{commit}`);
}

/** A clone that was cut off right behind this commit gets one more. */
async function deepened(): Promise<boolean> {
  if ((await answer('rev-parse', '--is-shallow-repository')) !== 'true') return false;
  return (await answer('fetch', '--quiet', '--deepen=1')) !== undefined;
}
