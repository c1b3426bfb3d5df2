import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { after, before } from 'mocha';
import { ensureBinaries } from '../../../hack/cluster/build.ts';
import { run } from '../../../hack/cluster/exec.ts';
import { buildImage, loadImage } from '../../../hack/cluster/images.ts';
import { parseOptions } from '../../../hack/cluster/options.ts';
import { createProgress } from '../../../hack/cluster/progress.ts';
import { type ImageSpec, operatorImage } from '../../../hack/demo/images.ts';
import { createKube, type Kube } from '../../../hack/demo/kube.ts';
import { ROOT } from '../../../hack/gen/files.ts';
import { helmPath } from '../../../hack/helm.ts';
import { type Api, apiClient } from '../../support/api.ts';
import { makeVolume, removeVolume } from './disks.ts';

/** Where the end-to-end tests run: the native cluster, with the chart installed beside whatever else is there. */
export interface Site {
  readonly kube: Kube;
  readonly kubectl: string;
  readonly kubeconfig: string;
}

export const TASKS = 'analysis-e2e';
/** A namespace whose store is a tmpfs of a few MiB. */
export const SMALL = 'analysis-e2e-small';
/** Namespaces whose stores are file systems of their own, for tests that fill one or make it read-only. */
export const FULL = 'analysis-e2e-full';
export const FROZEN = 'analysis-e2e-frozen';
/** A namespace without a claim, until a test makes one. */
export const CLAIMLESS = 'analysis-e2e-claimless';
/** A namespace on a small file system of its own, for the storm. */
export const STORM = 'analysis-e2e-storm';
const SYSTEM = 'analysis-e2e-system';
export const CLAIM = 'e2e-store';
const HOME = '/var/lib/analysis-e2e';
export const STORES = {
  [TASKS]: `${HOME}/store`,
  [SMALL]: `${HOME}/small`,
  [FULL]: `${HOME}/full`,
  [FROZEN]: `${HOME}/frozen`,
  [CLAIMLESS]: `${HOME}/claimless`,
  [STORM]: `${HOME}/storm`,
} as const;
export type Namespace = keyof typeof STORES;
const VOLUMES = {
  [TASKS]: { kind: 'directory' },
  [SMALL]: { kind: 'tmpfs', mib: 6 },
  [FULL]: { kind: 'disk', mib: 8 },
  [FROZEN]: { kind: 'disk', mib: 8 },
  [CLAIMLESS]: { kind: 'directory' },
  [STORM]: { kind: 'disk', mib: 256 },
} as const;
const NAMESPACES = Object.keys(STORES).filter((name): name is Namespace => Object.hasOwn(VOLUMES, name));
export const OWNER = { uid: 1234, gid: 2345 };
export const MODEL_IMAGE = 'localhost/analysis-operator/sh-model:test';
const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
export const SET_UP_MS = 45 * 60_000;

/** A version of the operator: its checkout, with the chart and the CRDs, and its image. */
export interface Release {
  readonly root: string;
  readonly image: ImageSpec;
}

type Settings = Readonly<Record<string, string>>;

interface Choice {
  readonly release: () => Promise<Release>;
  readonly settings: Settings;
  /** The chart brings the CRDs, also where they are already; they stay as the last release has them. */
  readonly ownCrds: boolean;
}

export const presentRelease = async (): Promise<Release> => ({ root: ROOT, image: await operatorImage() });
let choice: Choice = { release: presentRelease, settings: {}, ownCrds: false };

/** Changes what is installed at first; call it while the files are loaded. */
export function wantSite(more: Partial<Choice>): void {
  choice = { ...choice, ...more };
}

let opened: Site | undefined;
let client: Api | undefined;

// Importing this module registers the hooks: one site per process.
before('a cluster with the operator in it', async function () {
  this.timeout(SET_UP_MS);
  opened = await open();
});

after('remove what the tests made', async function () {
  this.timeout(180_000);
  if (opened && !process.env['ANALYSIS_E2E_KEEP']) await close(opened);
  await client?.close();
});

export function site(): Site {
  if (!opened) throw new Error('the cluster is not up yet: call site() inside a test');
  return opened;
}

async function open(): Promise<Site> {
  const options = parseOptions({ driver: 'native' });
  await run(process.execPath, [join(ROOT, 'hack/cluster/main.ts'), 'up', '--driver', 'native'], {
    timeoutMs: SET_UP_MS,
  });
  const built = await ensureBinaries(['kubernetes'], createProgress());
  const kubectl = built['kubectl'] ?? 'kubectl';
  const kubeconfig = join(options.state, 'kubeconfig');
  const api = (client = await apiClient(kubeconfig));
  const here: Site = {
    kube: { ...createKube({ kubectl, kubeconfig }), get: (path) => read(api, path) },
    kubectl,
    kubeconfig,
  };
  await close(here); // what an interrupted run left
  const release = await choice.release();
  await provideImages([release.image, testImage('sh-model', MODEL_IMAGE)]);
  await createNamespaces(here);
  await installChart(here, release);
  return here;
}

/** Tests look again and again; a kubectl for each look would take the machine from the pods. */
async function read(api: Api, path: string): Promise<unknown> {
  const { status, body } = await api.call('GET', path);
  if (status === 404) return undefined;
  if (status === 200) return body;
  throw new Error(`GET ${path}: ${status} ${JSON.stringify(body).slice(0, 300)}`);
}

/** Builds images where they changed, and brings them to the cluster's node. */
export async function provideImages(images: readonly ImageSpec[]): Promise<void> {
  const options = parseOptions({ driver: 'native' });
  const progress = createProgress();
  for (const { tag, dockerfile, context, offlineBase } of images) {
    const buildArgs: Record<string, string> = offlineBase ? { BASE: offlineBase } : {};
    await buildImage({ tag, file: dockerfile, context, buildArgs }, 'native', progress);
    await loadImage(tag, { driver: 'native', name: options.name, state: options.state }, progress);
  }
}

/** An image of test/images. */
export function testImage(directory: string, tag: string): ImageSpec {
  const context = join(ROOT, 'test/images', directory);
  return { tag, dockerfile: join(context, 'Dockerfile'), context };
}

async function createNamespaces({ kube }: Site): Promise<void> {
  for (const namespace of NAMESPACES) {
    await makeVolume(STORES[namespace], { ...VOLUMES[namespace], owner: OWNER });
    await kube.apply([
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: RESTRICTED } },
    ]);
    if (namespace !== CLAIMLESS) await kube.apply([volumeOf(namespace), claimOf(namespace)]);
  }
}

const ACCESS = { accessModes: ['ReadWriteMany'], storageClassName: '' };
const SIZE = { storage: '1Gi' };

/** The PersistentVolume of a namespace's store. */
export function volumeOf(namespace: Namespace): object {
  const hostPath = { path: STORES[namespace], type: 'Directory' };
  const claimRef = { namespace, name: CLAIM };
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: namespace },
    spec: { ...ACCESS, capacity: SIZE, hostPath, claimRef },
  };
}

/** The claim by which tasks of a namespace find their store. */
export function claimOf(namespace: Namespace, finalizers: readonly string[] = []): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: CLAIM, namespace, finalizers },
    spec: { ...ACCESS, volumeName: namespace, resources: { requests: SIZE } },
  };
}

/** Only the tests' own namespaces are watched, so the operator of a demo on the same cluster is left alone. */
async function installChart(here: Site, release: Release): Promise<void> {
  const { kube } = here;
  const areThere = (await kube.attempt(['get', 'crd', 'analysistasks.analysis.elsi.dev'])).code === 0;
  const foreignCrds = areThere && !choice.ownCrds;
  const settings = {
    ...imageSettings(release),
    'config.allowTags': 'true',
    'config.store.claimName': CLAIM,
    'config.identity.runAsUser': String(OWNER.uid),
    'config.identity.runAsGroup': String(OWNER.gid),
    'config.namespaces': `{${NAMESPACES.join(',')}}`,
    'config.progress.intervalSeconds': '1',
    'config.leaderElection.leaseDurationSeconds': '5',
    'config.leaderElection.renewDeadlineSeconds': '3',
    'config.leaderElection.retryPeriodSeconds': '1',
    'config.priorityClasses.Low': '',
    'config.priorityClasses.Normal': '',
    'config.priorityClasses.High': '',
    'priorityClasses.create': 'false',
    'crds.install': String(!foreignCrds),
    ...choice.settings,
  };
  if (foreignCrds)
    await kube.run(['apply', '--server-side', '--force-conflicts', '-f', join(release.root, 'crds')]);
  const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const own = choice.ownCrds ? ['--take-ownership', '--force-conflicts'] : [];
  const chart = join(release.root, CHART);
  await helmHere(here, [
    'upgrade',
    '--install',
    SYSTEM,
    chart,
    '--create-namespace',
    ...WAIT,
    ...own,
    ...sets,
  ]);
}

const CHART = 'charts/analysis-operator';
const WAIT = ['--wait', '--timeout', '180s'];

export function imageSettings({ image }: Release): Settings {
  const [repository = '', tag = ''] = image.tag.split(/:(?=[^:/]*$)/);
  return { 'image.repository': repository, 'image.tag': tag };
}

/** Changes the installed release, which keeps the settings that it has. */
export async function upgradeChart(root: string, settings: Settings): Promise<void> {
  const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const kept = ['upgrade', SYSTEM, join(root, CHART), '--reset-then-reuse-values'];
  await helmHere(site(), [...kept, ...WAIT, ...sets]);
}

/** Goes back to a revision of the installed release. */
export async function rollBackChart(revision: number): Promise<void> {
  await helmHere(site(), ['rollback', SYSTEM, String(revision), ...WAIT]);
}

async function helmHere({ kubeconfig }: Site, args: readonly string[]): Promise<void> {
  const options = { env: { KUBECONFIG: kubeconfig }, timeoutMs: 240_000 };
  await run(await helmPath(), [...args, '--namespace', SYSTEM], options);
}

async function close(here: Site): Promise<void> {
  const { kube } = here;
  await kube.attempt(['delete', 'namespace', ...NAMESPACES, '--ignore-not-found', '--timeout=90s']);
  await helmHere(here, ['uninstall', SYSTEM, '--ignore-not-found', '--wait']);
  await kube.attempt(['delete', 'namespace', SYSTEM, '--ignore-not-found', '--timeout=60s']);
  await kube.attempt(['delete', 'pv', ...NAMESPACES, '--ignore-not-found', '--timeout=30s']);
  await kube.attempt(['delete', 'analysismodels', '-l', 'analysis.elsi.dev/e2e=true']);
  for (const namespace of NAMESPACES) await removeVolume(STORES[namespace]);
  await rm(HOME, { recursive: true, force: true });
}

/** Name of the Deployment whose pods the tests kill. */
export const OPERATOR = { namespace: SYSTEM, selector: 'app.kubernetes.io/component=controller' };
