import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { GROUP } from '../../src/api/keys.ts';
import { run } from '../cluster/exec.ts';
import { buildImage, loadImage, type ImageTarget } from '../cluster/images.ts';
import { chooseDriver, parseOptions, type Driver, type Options } from '../cluster/options.ts';
import { createProgress } from '../cluster/progress.ts';
import { MODEL_IMAGES, type ImageSpec } from './images.ts';
import type { VolumeSource } from './install.ts';
import { createKube, type Access, type Kube } from './kube.ts';
import { CLAIM, OWNER } from './names.ts';
import { readState, writeState } from './state.ts';
import { hostStore, podStore, type Store } from './store.ts';

/** The cluster of the demo, whatever drives it. */
export type Cluster = {
  readonly driver: Driver;
  readonly access: Access;
  /** Builds the images and puts them where the cluster's nodes find them. */
  readonly provide: (images: readonly ImageSpec[]) => Promise<void>;
  /** Makes the directory behind the shared volume, or names the StorageClass that makes one. */
  readonly volume: () => Promise<VolumeSource>;
  /** The demo's own access to the shared volume. */
  readonly store: (kube: Kube) => Promise<Store>;
  /** Directory of this machine behind the shared volume, where there is one. */
  readonly directory?: string;
};

/** Where the native cluster's node, which is this machine, keeps the shared volume. */
export const nativeStore = (cluster: string): string => `/var/lib/${cluster}-demo/store`;
/** The same inside the container that is kind's node. */
const KIND_STORE = '/var/local/analysis-demo/store';

/** Starts the cluster if there is none, or takes the running one. */
export async function openCluster(write: (line: string) => void): Promise<Cluster> {
  const options = parseOptions({});
  const driver = await chooseDriver(options);
  const earlier = await readState(options.name);
  const running = driver === 'current' || existsSync(join(options.state, 'kubeconfig'));
  write(`    driver ${driver}${running ? ', using the cluster that is there' : ', starting a new cluster'}`);
  // Written before the start, so that an interrupted first run is still cleaned up completely.
  const state = earlier ?? { driver, started: !running, kindsBefore: false };
  await writeState(options.name, state);
  await clusterCommand(['up', '--driver', driver]);
  const access = accessTo(options);
  if (earlier === undefined)
    await writeState(options.name, { ...state, kindsBefore: await hasKinds(access) });
  return {
    driver,
    access,
    provide: (images) => provideImages({ driver, name: options.name, state: options.state }, images),
    ...storeOf(driver, options.name),
  };
}

async function hasKinds(access: Access): Promise<boolean> {
  return (await createKube(access).get(`/apis/${GROUP}`)) !== undefined;
}

/** kubectl of the cluster's own version where the driver brings one. */
export function accessTo(options: Options): Access {
  const brought = join(options.state, 'bin', 'kubectl');
  return {
    kubectl: existsSync(brought) ? brought : 'kubectl',
    kubeconfig: join(options.state, 'kubeconfig'),
  };
}

/** Runs a command of hack/cluster with its progress on this terminal. */
export function clusterCommand(args: readonly string[]): Promise<void> {
  const main = join(import.meta.dirname, '..', 'cluster', 'main.ts');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
      else
        reject(
          new Error(`hack/cluster/main.ts ${args.join(' ')} ended with code ${code ?? 'none'}: see above`),
        );
    });
  });
}

async function provideImages(target: ImageTarget, images: readonly ImageSpec[]): Promise<void> {
  const { driver } = target;
  const progress = createProgress();
  for (const { tag, dockerfile, context, offlineBase } of images) {
    // Where nothing can be pulled, the base comes from hack/cluster.
    const buildArgs: Record<string, string> = {};
    if (driver === 'native' && offlineBase !== undefined) buildArgs['BASE'] = offlineBase;
    // oxlint-disable-next-line no-await-in-loop -- builds share the two cores and the layer cache
    await buildImage({ tag, file: dockerfile, context, buildArgs }, driver, progress);
    // oxlint-disable-next-line no-await-in-loop -- as above
    await (driver === 'current' ? loadIntoCurrent(tag) : loadImage(tag, target, progress));
  }
}

/** A cluster of somebody's own has its own way to take an image, such as `minikube image load`. */
async function loadIntoCurrent(tag: string): Promise<void> {
  const [command, ...args] = required(
    'DEMO_IMAGE_LOAD',
    'a command that brings a local image into the cluster, such as "minikube image load"',
  ).split(' ');
  await run(command ?? '', [...args, tag], { timeoutMs: 600_000 });
}

function storeOf(driver: Driver, name: string): Pick<Cluster, 'volume' | 'store' | 'directory'> {
  const [helper] = MODEL_IMAGES;
  const throughPod = (kube: Kube) => podStore(kube, helper?.tag ?? '', CLAIM);
  switch (driver) {
    case 'native':
      return {
        volume: async () => {
          await mkdir(nativeStore(name), { recursive: true });
          return { hostPath: nativeStore(name) };
        },
        store: () => hostStore(nativeStore(name)),
        directory: nativeStore(name),
      };
    case 'kind':
      return {
        volume: async () => {
          const make = `mkdir -p ${KIND_STORE} && chown ${OWNER}:${OWNER} ${KIND_STORE} && chmod 2775 ${KIND_STORE}`;
          await run('docker', ['exec', `${name}-control-plane`, 'sh', '-c', make]);
          return { hostPath: KIND_STORE };
        },
        store: throughPod,
      };
    case 'current':
      return {
        volume: async () => ({
          storageClass: required(
            'DEMO_STORAGE_CLASS',
            'a StorageClass whose volumes are ReadWriteMany (kubectl get storageclass)',
          ),
        }),
        store: throughPod,
      };
  }
}

function required(variable: string, what: string): string {
  const given = process.env[variable];
  if (given !== undefined && given !== '') return given;
  throw new Error(`the driver "current" needs ${variable}: ${what}`);
}
