import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { callApi } from './api.ts';
import { AUDIT_POLICIES } from './audit.ts';
import { ensureBinaries, missingComponents, type Binaries } from './build.ts';
import { NODE_COMPONENTS, type ComponentName } from './components.ts';
import { ensureCredentials } from './credentials.ts';
import {
  apiserverArgs,
  controllerManagerArgs,
  etcdArgs,
  schedulerArgs,
  type ControlPlaneLayout,
} from './flags.ts';
import { prepareCgroups } from './cgroups.ts';
import { podResolver, setUpNetwork } from './network.ts';
import {
  cniConflist,
  containerdToml,
  kubeProxyArgs,
  kubeletArgs,
  kubeletYaml,
  nodePaths,
  type NodePaths,
} from './node-config.ts';
import { addFakeNodes, kwokSpec } from './kwok.ts';
import { ensureNodeReady, keepExtendedResources } from './node-status.ts';
import { ensurePauseImage } from './pause.ts';
import type { CertRequest } from './pki.ts';
import { BUILD_NEEDS, RUN_NEEDS, ensurePackages, requireGo, requireRoot } from './prerequisites.ts';
import { processTable, type ProcessSpec, type ProcessTable } from './processes.ts';
import type { Progress } from './progress.ts';
import { DEFAULT_NAME, ensureSettings, type Settings } from './settings.ts';
import { accepts, waitFor } from './wait.ts';

/** What `up` wants of a native cluster. */
export type NativeOptions = {
  readonly dir: string;
  readonly name: string;
  readonly gpus: number;
  readonly kwokNodes: number;
  readonly kwokGpus: number;
  /** The API server writes every change to <dir>/logs/audit.log, and answers only then. */
  readonly audit: boolean;
};

/** A cluster while it is brought up. */
type Building = {
  readonly options: NativeOptions;
  readonly settings: Settings;
  readonly layout: ControlPlaneLayout;
  readonly paths: NodePaths;
  readonly bin: Binaries;
  readonly table: ProcessTable;
  readonly progress: Progress;
};

/** The table of the processes of the cluster in `dir`. */
export const tableOf = (dir: string): ProcessTable => processTable(join(dir, 'run'), join(dir, 'logs'));

/** Brings a native cluster up, or back up: starts what is missing, changes nothing that runs as it should. */
export async function nativeUp(options: NativeOptions, progress: Progress): Promise<void> {
  requireRoot();
  const kwok = options.kwokNodes > 0 || (await tableOf(options.dir).names()).includes('kwok');
  const bin = await prepareBinaries(kwok, progress);
  const settings = await ensureSettings(options.dir, options);
  await forgetFormerBoot(options.dir);
  const layout = layoutOf(options, settings);
  const paths = nodePaths(options.dir);
  const building: Building = { options, settings, layout, paths, bin, table: tableOf(options.dir), progress };
  await writeConfiguration(building);
  await linkTools(building);
  await startControlPlane(building);
  await startNode(building);
  await ensureNodeReady(serverOf(settings), paths.pki, settings);
  if (kwok) await startFakeNodes(building);
}

// containerd keeps running tasks, and CNI handed-out addresses, in files that describe a machine since switched off.
async function forgetFormerBoot(dir: string): Promise<void> {
  const file = join(dir, 'boot-id');
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  const former = await readFile(file, 'utf8').catch(() => boot);
  const stale = former === boot ? [] : ['run', 'containerd/state', 'containerd/runc', 'cni-data'];
  await Promise.all(stale.map((name) => rm(join(dir, name), { recursive: true, force: true })));
  await writeFile(file, boot);
}

/** The address of the API server. */
export const serverOf = (settings: Settings): string =>
  `https://${settings.address}:${settings.ports.apiserver}`;

async function prepareBinaries(kwok: boolean, progress: Progress): Promise<Binaries> {
  const names: readonly ComponentName[] = [...NODE_COMPONENTS, ...(kwok ? (['kwok'] as const) : [])];
  const missing = await missingComponents(names);
  if (missing.length > 0) await requireGo();
  await ensurePackages(missing.includes('runc') ? [...RUN_NEEDS, ...BUILD_NEEDS] : RUN_NEEDS, progress);
  return ensureBinaries(names, progress);
}

function layoutOf({ dir, audit }: NativeOptions, settings: Settings): ControlPlaneLayout {
  const { address, serviceCidr, ports } = settings;
  const log = audit ? { auditPolicyFile: join(dir, 'audit-policy.yaml') } : {};
  return { dir, pki: join(dir, 'pki'), address, bindAddress: '0.0.0.0', serviceCidr, ports, ...log };
}

async function writeConfiguration({ settings, layout, paths, bin }: Building): Promise<void> {
  const nodeCerts: readonly CertRequest[] = [
    {
      name: 'kubelet',
      ca: 'ca',
      commonName: `system:node:${settings.nodeName}`,
      groups: ['system:nodes'],
      sans: [`DNS:${settings.nodeName}`, `IP:${settings.address}`],
    },
    { name: 'kube-proxy', ca: 'ca', commonName: 'system:kube-proxy' },
  ];
  await ensureCredentials(layout, {
    context: settings.name,
    extraCerts: nodeCerts,
    users: ['kubelet', 'kube-proxy'],
  });
  await Promise.all(
    [paths.cniConfigDir, paths.kubeletDir, paths.podLogs].map((dir) => mkdir(dir, { recursive: true })),
  );
  const cniDir = dirname(required(bin, 'bridge'));
  await writeFile(paths.containerdConfig, containerdToml(paths, { cniDir, runc: required(bin, 'runc') }));
  await writeFile(join(paths.cniConfigDir, '10-bridge.conflist'), cniConflist(paths, settings));
  await writeFile(paths.kubeletConfig, kubeletYaml(paths, settings, await podResolver()));
  if (layout.auditPolicyFile !== undefined) await writeFile(layout.auditPolicyFile, AUDIT_POLICIES.writes);
  await chmod(paths.pki, 0o700);
}

// So that a shell needs one folder on its PATH, whatever the cache calls its own.
async function linkTools({ options, bin }: Building): Promise<void> {
  const folder = join(options.dir, 'bin');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  for (const tool of ['kubectl', 'ctr']) await symlink(required(bin, tool), join(folder, tool));
}

async function startControlPlane(building: Building): Promise<void> {
  const { layout, settings, paths, progress } = building;
  const answers = async (path: string): Promise<boolean> =>
    (await callApi(serverOf(settings), paths.pki, { path })).status === 200;
  await start(building, { name: 'etcd', args: etcdArgs(layout) });
  await waitFor(
    'etcd answers',
    () => healthy(`http://127.0.0.1:${layout.ports.etcd}/health`),
    logHint(building, 'etcd'),
  );
  const whole = { 'audit-log-mode': 'blocking' }; // a log that lacks what was done just before a crash proves nothing
  await start(building, {
    name: 'kube-apiserver',
    args: apiserverArgs(layout, layout.auditPolicyFile === undefined ? {} : whole),
  });
  await waitFor('the API server is ready', () => answers('/readyz'), logHint(building, 'kube-apiserver'));
  await start(building, { name: 'kube-controller-manager', args: controllerManagerArgs(layout) });
  await start(building, { name: 'kube-scheduler', args: schedulerArgs(layout) });
  const account = '/api/v1/namespaces/default/serviceaccounts/default';
  await waitFor(
    'the default service account exists',
    () => answers(account),
    logHint(building, 'kube-controller-manager'),
  );
  progress.say('control plane ready');
}

async function startNode(building: Building): Promise<void> {
  const { settings, paths, bin, options } = building;
  const env = {
    PATH: [dirname(required(bin, 'containerd')), dirname(required(bin, 'runc')), process.env.PATH ?? ''].join(
      ':',
    ),
  };
  await setUpNetwork(settings);
  await prepareCgroups(settings);
  await keepExtendedResources();
  await start(building, {
    name: 'containerd',
    args: ['--config', paths.containerdConfig],
    env,
    configuration: await readFile(paths.containerdConfig, 'utf8'),
  });
  await waitFor('containerd answers', () => accepts(paths.containerdSocket), logHint(building, 'containerd'));
  await ensurePauseImage(
    { dir: options.dir, ctr: required(bin, 'ctr'), socket: paths.containerdSocket },
    building.progress,
  );
  await start(building, {
    name: 'kubelet',
    args: kubeletArgs(paths, settings),
    env,
    configuration: await readFile(paths.kubeletConfig, 'utf8'),
  });
  // kube-proxy's table has a fixed name, so only one cluster of a machine can have service IPs inside pods.
  if (settings.name === DEFAULT_NAME)
    await start(building, { name: 'kube-proxy', args: kubeProxyArgs(paths, settings) });
  else building.progress.say(`no kube-proxy: only the cluster named '${DEFAULT_NAME}' has service IPs`);
}

async function startFakeNodes(building: Building): Promise<void> {
  const { settings, paths, options } = building;
  await start(building, await kwokSpec(options.dir, settings));
  // Fake nodes of an earlier `up` stay when this one asks for none.
  if (options.kwokNodes === 0) return;
  await addFakeNodes(serverOf(settings), paths.pki, { count: options.kwokNodes, gpus: options.kwokGpus });
  building.progress.say(
    `${options.kwokNodes} fake nodes with ${options.kwokGpus} nvidia.com/gpu each (kwok)`,
  );
}

async function start(building: Building, spec: Omit<ProcessSpec, 'command'>): Promise<void> {
  const outcome = await building.table.ensure({ ...spec, command: required(building.bin, spec.name) });
  if (outcome !== 'running') building.progress.say(`${spec.name} ${outcome}`);
}

function required(bin: Binaries, name: string): string {
  const path = bin[name];
  if (path === undefined || !existsSync(path))
    throw new Error(`the binary ${name} is missing in the cache: remove the cache folder and try again`);
  return path;
}

const logHint = (building: Building, name: string): { readonly limitMs: number; readonly hint: string } => ({
  limitMs: 60_000,
  hint: `see ${join(building.options.dir, 'logs', `${name}.log`)}`,
});

async function healthy(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
  return answer.ok;
}
