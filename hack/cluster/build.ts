import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir } from './cache.ts';
import {
  COMPONENTS,
  GO_MODULES,
  buildArgs,
  componentKey,
  type Component,
  type ComponentName,
} from './components.ts';
import { run, tryRun, type RunOptions } from './exec.ts';
import { withLock } from './lock.ts';
import type { Progress } from './progress.ts';

const BUILD_TIMEOUT_MS = 3_600_000;

/** Name of a binary or a kept folder -> absolute path. */
export type Binaries = Readonly<Record<string, string>>;

const binDir = (): string => join(cacheDir(), 'bin');

/** Makes sure the binaries of the named components are in the cache, building what is missing. */
export async function ensureBinaries(names: readonly ComponentName[], progress: Progress): Promise<Binaries> {
  const found: Record<string, string> = {};
  for (const name of names) {
    const component = COMPONENTS[name];
    const folder = join(binDir(), await componentKey(component));
    if (!existsSync(folder)) await buildOnce(component, folder, progress);
    for (const item of contents(component)) found[item] = join(folder, item);
  }
  return found;
}

const contents = ({ binaries, folders = {} }: Component): readonly string[] => [
  ...Object.keys(binaries),
  ...Object.keys(folders),
];

/** Says which of the named components a build would still have to make. */
export async function missingComponents(names: readonly ComponentName[]): Promise<readonly ComponentName[]> {
  const keys = await Promise.all(
    names.map(async (name) => [name, await componentKey(COMPONENTS[name])] as const),
  );
  return keys.filter(([, key]) => !existsSync(join(binDir(), key))).map(([name]) => name);
}

async function buildOnce(component: Component, folder: string, progress: Progress): Promise<void> {
  const onWait = (holder: string): void =>
    progress.say(`waiting for ${holder}, which builds ${component.name}`);
  await withLock(`${folder}.lock`, onWait, async () => {
    if (!existsSync(folder)) await buildInto(component, folder, progress);
  });
}

// The folder appears under its final name only when complete, so an interrupted build is never taken for a whole one.
async function buildInto(component: Component, folder: string, progress: Progress): Promise<void> {
  const names = Object.keys(component.binaries);
  await mkdir(binDir(), { recursive: true });
  const staging = await mkdtemp(join(binDir(), '.building-'));
  const [single] = names;
  const out = names.length === 1 && single !== undefined ? join(staging, single) : `${staging}/`;
  const what = `${component.name} (${names.length === 1 ? '1 binary' : `${names.length} binaries`}, ${component.about})`;
  try {
    await progress.step(`building ${what}`, () => goBuild(component, out));
    await keepFolders(component, staging);
    await rename(staging, folder);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Where and how go runs for a component. */
function goOptions(component: Component): RunOptions {
  const env = { CGO_ENABLED: component.cgo ? '1' : '0', GOFLAGS: '', GOWORK: 'off' };
  return { cwd: join(GO_MODULES, component.name), env, timeoutMs: BUILD_TIMEOUT_MS };
}

// Copied while the build has just put the module there: Go's module cache may be cleaned, ours then still is whole.
async function keepFolders(component: Component, staging: string): Promise<void> {
  for (const [name, { module, path }] of Object.entries(component.folders ?? {})) {
    const args = ['list', '-mod=readonly', '-m', '-f', '{{.Dir}}', module];
    const dir = (await run('go', args, goOptions(component))).trim();
    // Go's copy is read-only, ours must be removable.
    await run('cp', ['-r', '--no-preserve=mode', join(dir, path), join(staging, name)]);
  }
}

async function goBuild(component: Component, out: string): Promise<void> {
  const result = await tryRun('go', buildArgs(component, out), goOptions(component));
  if (result.code === 0) return;
  throw new Error(`building ${component.name} failed: ${buildProblem(result.stderr)}`);
}

/** Makes the end of a failed build's output, led by the likely cause where that is a module proxy out of reach. */
export function buildProblem(stderr: string): string {
  const lines = stderr.trim().split('\n').slice(-8).join('\n  ');
  const network =
    /dial tcp|no such host|connection refused|proxyconnect|i\/o timeout|x509:|TLS handshake/.test(stderr);
  const hint =
    'the Go module proxy cannot be reached (see `go env GOPROXY`; behind a private CA set SSL_CERT_FILE)';
  return network ? `${hint}:\n  ${lines}` : `\n  ${lines}`;
}
