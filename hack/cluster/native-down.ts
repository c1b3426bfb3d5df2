import { readFile, readdir, readlink, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BUILDAH_RUN, imagesLock } from './buildah.ts';
import { podProcesses, removeCgroups } from './cgroups.ts';
import { succeeds } from './exec.ts';
import { isLocked } from './lock.ts';
import { tableOf } from './native.ts';
import { anyBridge, tearDownNetwork } from './network.ts';
import { CHECKPOINT_FILE } from './node-status.ts';
import { endAll, identify, type ProcessId } from './processes.ts';
import type { Progress } from './progress.ts';
import { DEFAULT_NAME, readSettings, type Settings } from './settings.ts';
import { accepts } from './wait.ts';

/** The order that hangs nowhere: who asks stops before who answers. */
const STOP_ORDER = [
  'kwok',
  'kubelet',
  'kube-proxy',
  'kube-scheduler',
  'kube-controller-manager',
  'kube-apiserver',
  'etcd',
] as const;

/** Removes a native cluster without a trace: processes, containers, mounts, network, cgroups, files. The cache stays. */
export async function nativeDown(dir: string, progress: Progress): Promise<void> {
  const settings = await readSettings(dir);
  if (settings === undefined) {
    progress.say(`no cluster in ${dir}`);
    return;
  }
  const table = tableOf(dir);
  await table.stop('kubelet');
  await stopContainers(dir, settings);
  for (const name of STOP_ORDER) await table.stop(name);
  for (const name of await table.names()) await table.stop(name);
  progress.say('processes and containers stopped');
  await unmountBelow(dir);
  await tearDownNetwork(settings, { kubeProxy: settings.name === DEFAULT_NAME });
  await removeCgroups(settings);
  await removeTraces(dir);
  await rm(dir, { recursive: true, force: true });
  progress.say(`cluster removed (${dir}); the cache of binaries and images stays`);
}

// No graceful end for pods: kubelet is gone already. The shims end after their containers, containerd after the shims.
async function stopContainers(dir: string, settings: Settings): Promise<void> {
  await endAll(await podProcesses(settings), 0);
  await endAll(await shimsOf(dir), 0);
  await tableOf(dir).stop('containerd');
}

async function shimsOf(dir: string): Promise<readonly ProcessId[]> {
  const socket = join(dir, 'containerd.sock');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const [command = '', ...args] = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split(
        '\0',
      );
      return command.endsWith('containerd-shim-runc-v2') && args.includes(socket)
        ? identify(Number(pid))
        : undefined;
    }),
  );
  return found.filter((id) => id !== undefined);
}

/** Mount points below a directory from the text of `/proc/self/mountinfo`, innermost first. */
export function mountsBelow(mountinfo: string, dir: string): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) => unescapeOctal(line.split(' ')[4] ?? ''))
    .filter((path) => path.startsWith(`${dir}/`))
    .toReversed();
}

function unescapeOctal(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

async function unmountBelow(dir: string): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    const mounts = mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), dir);
    if (mounts.length === 0) return;
    for (const mount of mounts) await succeeds('umount', ['--lazy', mount]);
  }
  const left = mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), dir);
  if (left.length > 0)
    throw new Error(
      `${left.length} mounts below ${dir} cannot be unmounted, the first is ${left[0]}: nothing was deleted`,
    );
}

// What kubelet, the shims and buildah keep outside the state directory, in folders that others may share.
async function removeTraces(dir: string): Promise<void> {
  await removeLinks('/var/log/containers', dir);
  await removeDeadSockets('/run/containerd/s');
  const shared = ['/var/log/containers', '/run/containerd/s', '/run/containerd'];
  for (const folder of shared) await rmdir(folder).catch(() => undefined);
  if (await anyBridge()) return;
  if (!(await isLocked(imagesLock()))) await rm(BUILDAH_RUN, { recursive: true, force: true });
  await rm(CHECKPOINT_FILE, { force: true });
  const [devices, cni] = ['/var/lib/kubelet/device-plugins', '/etc/cni/net.d'];
  await removeDeadSockets(devices);
  if ((await readdir(cni).catch(() => [])).every((name) => name === 'cni.lock'))
    await rm(join(cni, 'cni.lock'), { force: true });
  for (const folder of [devices, dirname(devices), cni, dirname(cni)])
    await rmdir(folder).catch(() => undefined);
}

async function removeDeadSockets(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const { name } of entries.filter((entry) => entry.isSocket())) {
    if (!(await accepts(join(folder, name)))) await rm(join(folder, name), { force: true });
  }
}

async function removeLinks(folder: string, dir: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const target = await readlink(join(folder, name)).catch(() => '');
    if (target.startsWith(`${dir}/`)) await rm(join(folder, name), { force: true });
  }
}
