import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ensureBase } from './base-images.ts';
import { ensureBinaries } from './build.ts';
import { buildah, hostMounts, imageId, imagesLock } from './buildah.ts';
import { cacheDir } from './cache.ts';
import { dockerfileInputs, fullName } from './dockerfile.ts';
import { run } from './exec.ts';
import { hashImage } from './image-hash.ts';
import { withLock } from './lock.ts';
import type { Driver } from './options.ts';
import { ctr, type Containerd } from './pause.ts';
import { IMAGE_NEEDS, ensurePackages, requireRoot } from './prerequisites.ts';
import type { Progress } from './progress.ts';

/** What `image build` is asked for. */
export type ImageBuild = {
  readonly tag: string;
  readonly file: string;
  readonly context: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly target?: string;
};

/** Which cluster an image is for. */
export type ImageTarget = { readonly driver: Driver; readonly name: string; readonly state: string };

/** Builds an image with what the driver offers: buildah (native) or docker. An unchanged one is not built again. */
export async function buildImage(build: ImageBuild, driver: Driver, progress: Progress): Promise<void> {
  if (driver !== 'native') {
    const args = ['build', '-t', build.tag, '-f', build.file, ...argFlags(build), build.context];
    await progress.step(`building ${build.tag} with docker`, () =>
      run('docker', args, { timeoutMs: 3_600_000 }),
    );
    return;
  }
  requireRoot();
  await ensurePackages(IMAGE_NEEDS, progress);
  const onWait = (holder: string): void => progress.say(`waiting for ${holder}, which builds an image`);
  await withLock(imagesLock(), onWait, () => buildNatively({ ...build, tag: fullName(build.tag) }, progress));
}

async function buildNatively(build: ImageBuild, progress: Progress): Promise<void> {
  const dockerfile = await readFile(build.file, 'utf8');
  const { bases, sources } = dockerfileInputs(dockerfile, build.buildArgs);
  for (const base of bases) await ensureBase(fullName(base), progress);
  const baseIds = await Promise.all(bases.map(async (base) => (await imageId(fullName(base))) ?? base));
  const target = build.target ?? '';
  const hash = await hashImage({ ...build, dockerfile: `${dockerfile}\n${target}`, sources, bases: baseIds });
  const memory = memoryOf(join(cacheDir(), 'images', 'built.json'));
  const id = await imageId(build.tag);
  if (id !== undefined && (await memory.recall(build.tag)) === `${hash} ${id}`) {
    progress.say(`${build.tag} is unchanged`);
    return;
  }
  const flags = [
    '--layers',
    '--isolation',
    'chroot',
    '--network',
    'host',
    ...(await hostMounts()),
    ...argFlags(build),
  ];
  await progress.step(`building ${build.tag}`, () =>
    buildah(['bud', ...flags, '-t', build.tag, '-f', build.file, build.context]),
  );
  await memory.remember(build.tag, `${hash} ${(await imageId(build.tag)) ?? ''}`);
}

function argFlags(build: ImageBuild): readonly string[] {
  const args = Object.entries(build.buildArgs).flatMap(([name, value]) => [
    '--build-arg',
    `${name}=${value}`,
  ]);
  return build.target === undefined ? args : [...args, '--target', build.target];
}

/** Brings a built image into the cluster; one that is there already is not sent again. */
export async function loadImage(name: string, target: ImageTarget, progress: Progress): Promise<void> {
  if (target.driver === 'current') {
    throw new Error(
      `${name} cannot be loaded into a cluster of yours: push it to a registry that its nodes can reach (docker push) and use that name`,
    );
  }
  if (target.driver === 'kind') {
    await progress.step(`loading ${name} into kind`, () =>
      run('kind', ['load', 'docker-image', name, '--name', target.name]),
    );
    return;
  }
  requireRoot();
  const onWait = (holder: string): void => progress.say(`waiting for ${holder}, which loads an image`);
  await withLock(`${target.state}.images.lock`, onWait, () =>
    loadNatively(fullName(name), target.state, progress),
  );
}

async function loadNatively(name: string, state: string, progress: Progress): Promise<void> {
  const socket = join(state, 'containerd.sock');
  if (!existsSync(socket)) throw new Error(`no cluster runs in ${state}: bring it up first`);
  const id = await imageId(name);
  if (id === undefined)
    throw new Error(`${name} has not been built here: run 'image build --tag ${name} ...' first`);
  const bin = await ensureBinaries(['containerd'], progress);
  const containerd: Containerd = { dir: state, ctr: bin['ctr'] ?? 'ctr', socket };
  const memory = memoryOf(join(state, 'loaded.json'));
  const present = (await ctr(containerd, ['images', 'list', '--quiet', `name==${name}`])).includes(name);
  if (present && (await memory.recall(name)) === id) {
    progress.say(`${name} is in the cluster already`);
    return;
  }
  await progress.step(`loading ${name}`, () => transfer(name, containerd));
  await memory.remember(name, id);
}

// A docker archive holds plain layers: packing and unpacking would cost more time than the disk space is worth.
async function transfer(name: string, containerd: Containerd): Promise<void> {
  const archive = join(containerd.dir, 'image.tar');
  try {
    await rm(archive, { force: true });
    await buildah(['push', '--quiet', name, `docker-archive:${archive}:${name}`]);
    await ctr(containerd, ['images', 'import', '--local', archive]);
  } finally {
    await rm(archive, { force: true });
  }
}

const Memory = z.record(z.string(), z.string());

/** A small file of strings by name: what was built or loaded last. */
function memoryOf(file: string): {
  readonly recall: (key: string) => Promise<string | undefined>;
  readonly remember: (key: string, value: string) => Promise<void>;
} {
  const read = async (): Promise<z.output<typeof Memory>> => {
    const text = await readFile(file, 'utf8').catch(() => '{}');
    return Memory.catch({}).parse(JSON.parse(text === '' ? '{}' : text));
  };
  return {
    recall: async (key) => (await read())[key],
    remember: async (key, value) => {
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, JSON.stringify({ ...(await read()), [key]: value }, null, 2));
    },
  };
}
