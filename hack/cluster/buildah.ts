import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { cacheDir } from './cache.ts';
import { run, succeeds } from './exec.ts';

/** Transient state of buildah; the images themselves lie in the user's cache. */
export const BUILDAH_RUN = '/run/analysis-operator-buildah';

/** Held while images are built: the storage and its bookkeeping have one user at a time. */
export const imagesLock = (): string => join(cacheDir(), 'images.lock');

const BUILD_TIMEOUT_MS = 3_600_000;

const storageArgs = (): readonly string[] => [
  '--root',
  join(cacheDir(), 'containers'),
  '--runroot',
  BUILDAH_RUN,
  '--storage-driver',
  'overlay',
];

/** Runs a buildah command in the storage of the user's cache and returns its stdout. */
export function buildah(args: readonly string[]): Promise<string> {
  return run('buildah', [...storageArgs(), ...args], {
    timeoutMs: BUILD_TIMEOUT_MS,
    env: { BUILDAH_ISOLATION: 'chroot' },
  });
}

/** The id of an image in the storage; undefined when it is not there. */
export async function imageId(name: string): Promise<string | undefined> {
  if (!(await succeeds('buildah', [...storageArgs(), 'inspect', '--type', 'image', name]))) return undefined;
  return (await buildah(['inspect', '--type', 'image', '--format', '{{.FromImageID}}', name])).trim();
}

/** Volumes that a build needs to reach the outside as this machine does; none of them ends up in the image. */
export async function hostMounts(): Promise<readonly string[]> {
  const mounts = ['-v', '/etc/resolv.conf:/etc/resolv.conf:ro'];
  const bundle = caBundle();
  if (bundle === undefined) return mounts;
  const folder = join(cacheDir(), 'build');
  await mkdir(folder, { recursive: true });
  const pipConf = join(folder, 'pip.conf');
  await writeFile(pipConf, pipConfiguration(process.env.PIP_INDEX_URL));
  // Not over /etc/ssl/certs: the post-install script of ca-certificates fails on a mount there.
  return [...mounts, '-v', `${bundle}:/run/ca.pem:ro`, '-v', `${pipConf}:/etc/pip.conf:ro`];
}

/** pip's configuration inside builds: the machine's CA bundle and, if set, its package index. */
export function pipConfiguration(indexUrl: string | undefined): string {
  const index = indexUrl === undefined || indexUrl === '' ? '' : `index-url = ${indexUrl}\n`;
  return `[global]\ncert = /run/ca.pem\n${index}`;
}

function caBundle(): string | undefined {
  const candidates = [
    process.env.SSL_CERT_FILE,
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/pki/tls/certs/ca-bundle.crt',
  ];
  return candidates.find((path) => path !== undefined && path !== '' && existsSync(path));
}
