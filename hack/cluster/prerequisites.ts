import { existsSync } from 'node:fs';
import process from 'node:process';
import { succeeds, tryRun } from './exec.ts';
import type { Progress } from './progress.ts';

/** A command or file that must be there, and the Debian package that brings it. */
export type Need = { readonly probe: string; readonly package: string };

/** What a native cluster needs at run time. */
export const RUN_NEEDS: readonly Need[] = [
  { probe: 'openssl', package: 'openssl' },
  { probe: 'nft', package: 'nftables' },
  { probe: 'ip', package: 'iproute2' },
  { probe: 'mount', package: 'mount' },
  { probe: 'gcc', package: 'gcc' },
  { probe: '/usr/include/unistd.h', package: 'libc6-dev' },
];

/** What building runc needs beside Go. */
export const BUILD_NEEDS: readonly Need[] = [
  { probe: 'pkg-config', package: 'pkg-config' },
  { probe: '/usr/include/seccomp.h', package: 'libseccomp-dev' },
];

/** What building images needs. */
export const IMAGE_NEEDS: readonly Need[] = [
  { probe: 'buildah', package: 'buildah' },
  { probe: 'debootstrap', package: 'debootstrap' },
];

/** Fails unless this process may make namespaces, mounts and network devices. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new Error(
    'the native cluster needs root (mounts, network, cgroups): run it with sudo, or use --driver kind (Docker) or --driver current (a kubeconfig context of yours)',
  );
}

/** Installs the missing packages with apt, one update and one install, and says so; fails where there is no apt. */
export async function ensurePackages(needs: readonly Need[], progress: Progress): Promise<void> {
  const missing: string[] = [];
  for (const need of needs) if (!(await isThere(need))) missing.push(need.package);
  if (missing.length === 0) return;
  const list = [...new Set(missing)].join(' ');
  if (!(await succeeds('apt-get', ['--version']))) {
    throw new Error(
      `these Debian packages (or what your system calls them) are missing: ${list}; install them and try again`,
    );
  }
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await progress.step(`installing with apt: ${list}`, async () => {
    const update = await tryRun('apt-get', ['update'], { env });
    const install = await tryRun(
      'apt-get',
      ['install', '-y', '--no-install-recommends', ...list.split(' ')],
      { env },
    );
    if (install.code === 0) return;
    const why = `${update.stderr}\n${install.stderr}`.trim().split('\n').slice(-8).join('\n  ');
    throw new Error(`apt could not install ${list} (is the package mirror reachable?):\n  ${why}`);
  });
  for (const need of needs) {
    if (!(await isThere(need)))
      throw new Error(`apt installed ${need.package}, but ${need.probe} is still missing`);
  }
}

async function isThere(need: Need): Promise<boolean> {
  return need.probe.startsWith('/')
    ? existsSync(need.probe)
    : succeeds('sh', ['-c', `command -v ${need.probe}`]);
}

/** Fails unless Go can build the tool modules: 1.26, or 1.21 and later, which fetch it by themselves. */
export async function requireGo(): Promise<void> {
  const result = await tryRun('go', ['env', 'GOVERSION', 'GOTOOLCHAIN', 'GOPROXY']).catch(() => undefined);
  const hint = 'install Go 1.26 or later (https://go.dev/dl)';
  if (result === undefined || result.code !== 0)
    throw new Error(`building the cluster's binaries needs Go, and there is none: ${hint}`);
  const [version = '', toolchain = '', proxy = ''] = result.stdout.split('\n');
  const problem = goProblem(version, toolchain);
  if (problem !== undefined) throw new Error(`${problem}: ${hint}`);
  if (proxy === 'off')
    throw new Error('GOPROXY=off forbids to download the Go modules: unset it for the first build');
}

/** What is wrong with a Go installation; undefined when it will do. */
export function goProblem(version: string, toolchain: string): string | undefined {
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || minor === undefined) return `'${version}' is no Go release`;
  const number = Number(major) * 1000 + Number(minor);
  if (number >= 1026) return undefined;
  if (number >= 1021 && toolchain !== 'local') return undefined;
  return `Go is ${version}, and cannot fetch a newer one by itself`;
}
