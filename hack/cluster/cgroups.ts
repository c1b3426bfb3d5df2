import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cgroupRoot } from './node-config.ts';
import { identify, type ProcessId } from './processes.ts';
import type { Settings } from './settings.ts';

const MOUNT = '/sys/fs/cgroup';

/** The roots of all cgroup hierarchies: one on cgroup v2, one per controller on v1. */
async function hierarchies(): Promise<readonly string[]> {
  if (existsSync(join(MOUNT, 'cgroup.controllers'))) return [MOUNT];
  return (await readdir(MOUNT)).map((name) => join(MOUNT, name));
}

/** kubelet demands that its cgroup root exists in every hierarchy; runc demands that cpusets are not empty. */
export async function prepareCgroups(settings: Settings): Promise<void> {
  const root = cgroupRoot(settings);
  if (root === '/') return;
  for (const hierarchy of await hierarchies()) {
    const folder = join(hierarchy, root);
    await mkdir(folder, { recursive: true });
    for (const file of ['cpuset.mems', 'cpuset.cpus']) await inherit(hierarchy, folder, file);
    await enableControllers(hierarchy, folder);
  }
}

async function inherit(parent: string, child: string, file: string): Promise<void> {
  const value = await readFile(join(parent, file), 'utf8').catch(() => undefined);
  if (value !== undefined) await writeFile(join(child, file), value);
}

async function enableControllers(hierarchy: string, folder: string): Promise<void> {
  const controllers = await readFile(join(hierarchy, 'cgroup.controllers'), 'utf8').catch(() => '');
  const wanted = controllers
    .trim()
    .split(/\s+/)
    .filter((name) => name !== '')
    .map((name) => `+${name}`);
  if (wanted.length === 0) return;
  for (const dir of [hierarchy, folder])
    await writeFile(join(dir, 'cgroup.subtree_control'), wanted.join(' '));
}

async function podRoots(settings: Settings): Promise<readonly string[]> {
  return (await hierarchies())
    .map((hierarchy) => join(hierarchy, cgroupRoot(settings), 'kubepods'))
    .filter((dir) => existsSync(dir));
}

/** All processes inside the pods' cgroups. */
export async function podProcesses(settings: Settings): Promise<readonly ProcessId[]> {
  const dirs = (await Promise.all((await podRoots(settings)).map((root) => subtree(root)))).flat();
  const texts = await Promise.all(
    dirs.map((dir) => readFile(join(dir, 'cgroup.procs'), 'utf8').catch(() => '')),
  );
  const pids = new Set(texts.flatMap((text) => text.split('\n')).filter((line) => line !== ''));
  return [...pids].map((pid) => identify(Number(pid))).filter((id) => id !== undefined);
}

/** Removes the pods' cgroups, leaves first. */
export async function removeCgroups(settings: Settings): Promise<void> {
  for (const root of await podRoots(settings)) {
    for (const dir of (await subtree(root)).toReversed()) await rmdir(dir).catch(() => undefined);
  }
  if (cgroupRoot(settings) === '/') return;
  for (const hierarchy of await hierarchies())
    await rmdir(join(hierarchy, cgroupRoot(settings))).catch(() => undefined);
}

// Parents before children.
async function subtree(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map((entry) => subtree(join(root, entry.name))),
  );
  return [root, ...below.flat()];
}
