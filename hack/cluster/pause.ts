import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { cacheDir } from './cache.ts';
import { run } from './exec.ts';
import { PAUSE_IMAGE } from './node-config.ts';
import type { Progress } from './progress.ts';

const SOURCE = join(import.meta.dirname, '../../images/base/pause.c');

/** The containerd of a native cluster, as images are imported into it. */
export type Containerd = { readonly dir: string; readonly ctr: string; readonly socket: string };

/** Runs `ctr` in the namespace that kubelet's images live in. */
export function ctr(containerd: Containerd, args: readonly string[]): Promise<string> {
  return run(containerd.ctr, ['--address', containerd.socket, '--namespace', 'k8s.io', ...args]);
}

/** Makes sure the sandbox image is in containerd; compiled once per user (a static C program, no base image). */
export async function ensurePauseImage(containerd: Containerd, progress: Progress): Promise<void> {
  const present = await ctr(containerd, ['images', 'list', '--quiet', `name==${PAUSE_IMAGE}`]);
  if (present.includes(PAUSE_IMAGE)) return;
  const archive = join(cacheDir(), 'images', 'pause.tar');
  if (!existsSync(archive)) await progress.step(`making ${PAUSE_IMAGE}`, () => buildPause(archive));
  await ctr(containerd, ['images', 'import', archive]);
}

// An image in the layout of `docker save`: one layer, made with tar, without any builder.
async function buildPause(archive: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'pause-'));
  try {
    const rootfs = join(work, 'rootfs');
    await mkdir(rootfs);
    await run('gcc', ['-Os', '-static', '-s', '-o', join(rootfs, 'pause'), SOURCE]);
    await run('tar', ['--owner=0', '--group=0', '-cf', join(work, 'layer.tar'), '-C', rootfs, 'pause']);
    const [digest = ''] = (await run('sha256sum', [join(work, 'layer.tar')])).split(' ');
    const config = JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Entrypoint: ['/pause'], User: '65535:65535' },
      rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
    });
    const configName = `${createHash('sha256').update(config).digest('hex')}.json`;
    await writeFile(join(work, configName), config);
    await writeFile(
      join(work, 'manifest.json'),
      JSON.stringify([{ Config: configName, RepoTags: [PAUSE_IMAGE], Layers: ['layer.tar'] }]),
    );
    await mkdir(dirname(archive), { recursive: true });
    const staged = `${archive}.${process.pid}`;
    await run('tar', ['-cf', staged, '-C', work, 'manifest.json', configName, 'layer.tar']);
    await rename(staged, archive);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
