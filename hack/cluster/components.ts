import { createHash } from 'node:crypto';
import process from 'node:process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One Go tool module under `go/<name>` and what is built from it. */
export type Component = {
  readonly name: string;
  /** What the progress line says about the first build on two cores. */
  readonly about: string;
  readonly cgo: boolean;
  readonly tags: readonly string[];
  readonly ldflags: readonly string[];
  /** Binary name -> Go package. */
  readonly binaries: Readonly<Record<string, string>>;
  /** Folders of the module's sources that are kept beside the binaries: name -> Go module and path in it. */
  readonly folders?: Readonly<Record<string, { readonly module: string; readonly path: string }>>;
};

/** The Kubernetes version that the binaries report; Helm's `kubeVersion` checks read it. */
export const KUBERNETES_VERSION = 'v1.36.3';

const K8S = 'k8s.io/kubernetes/cmd';
const CONTAINERD = 'github.com/containerd/containerd/v2';
const CNI = 'github.com/containernetworking/plugins/plugins';
const [MAJOR = '', MINOR = ''] = KUBERNETES_VERSION.slice(1).split('.');

const kubernetes: Component = {
  name: 'kubernetes',
  about: 'about 10 min the first time',
  cgo: false,
  tags: [],
  ldflags: [
    `-X k8s.io/component-base/version.gitVersion=${KUBERNETES_VERSION}`,
    `-X k8s.io/client-go/pkg/version.gitVersion=${KUBERNETES_VERSION}`,
    `-X k8s.io/component-base/version.gitMajor=${MAJOR}`,
    `-X k8s.io/component-base/version.gitMinor=${MINOR}`,
  ],
  binaries: {
    'kube-apiserver': `${K8S}/kube-apiserver`,
    'kube-controller-manager': `${K8S}/kube-controller-manager`,
    'kube-scheduler': `${K8S}/kube-scheduler`,
    'kube-proxy': `${K8S}/kube-proxy`,
    kubelet: `${K8S}/kubelet`,
    kubectl: `${K8S}/kubectl`,
  },
};

const etcd: Component = {
  name: 'etcd',
  about: 'about 1 min',
  cgo: false,
  tags: [],
  ldflags: [],
  binaries: { etcd: 'go.etcd.io/etcd/server/v3' },
};

const containerd: Component = {
  name: 'containerd',
  about: 'about 2 min',
  cgo: false,
  tags: ['no_btrfs', 'no_devmapper', 'no_zfs'],
  ldflags: [`-X ${CONTAINERD}/version.Version=v2.3.6`],
  binaries: {
    containerd: `${CONTAINERD}/cmd/containerd`,
    'containerd-shim-runc-v2': `${CONTAINERD}/cmd/containerd-shim-runc-v2`,
    ctr: `${CONTAINERD}/cmd/ctr`,
  },
};

// Without the seccomp tag every pod fails with "seccomp not supported", and the tag needs cgo and libseccomp.
const runc: Component = {
  name: 'runc',
  about: 'about 15 s',
  cgo: true,
  tags: ['seccomp'],
  ldflags: [],
  binaries: { runc: 'github.com/opencontainers/runc' },
};

const cni: Component = {
  name: 'cni',
  about: 'about 5 s',
  cgo: false,
  tags: [],
  ldflags: [],
  binaries: {
    bridge: `${CNI}/main/bridge`,
    loopback: `${CNI}/main/loopback`,
    'host-local': `${CNI}/ipam/host-local`,
    portmap: `${CNI}/meta/portmap`,
  },
};

const kwok: Component = {
  name: 'kwok',
  about: 'about 3 min',
  cgo: false,
  tags: [],
  ldflags: [],
  binaries: { kwok: 'sigs.k8s.io/kwok/cmd/kwok' },
};

const kueue: Component = {
  name: 'kueue',
  about: 'about 4 min',
  cgo: false,
  tags: [],
  ldflags: [],
  binaries: { kueue: 'sigs.k8s.io/kueue/cmd/kueue' },
  folders: { 'kueue-chart': { module: 'sigs.k8s.io/kueue', path: 'charts/kueue' } },
};

/** Everything that can be built from the tool modules, by name. */
export const COMPONENTS = { kubernetes, etcd, containerd, runc, cni, kwok, kueue } as const;

export type ComponentName = keyof typeof COMPONENTS;

/** What an API server alone needs; the rest is for a node. */
export const CONTROL_PLANE_COMPONENTS = ['etcd', 'kubernetes'] as const satisfies readonly ComponentName[];

/** What a cluster with a real node needs, quick builds first so that failures show early. */
export const NODE_COMPONENTS = [
  'runc',
  'cni',
  'etcd',
  'containerd',
  'kubernetes',
] as const satisfies readonly ComponentName[];

/** The folder with the tool modules. */
export const GO_MODULES = join(import.meta.dirname, 'go');

/** Arguments of `go build` for a component; `out` is the binary for one package, a folder (with `/`) for several. */
export function buildArgs(component: Component, out: string): readonly string[] {
  return [
    'build',
    '-mod=readonly',
    '-trimpath',
    '-buildvcs=false',
    ...(component.tags.length > 0 ? ['-tags', component.tags.join(',')] : []),
    '-ldflags',
    ['-s', '-w', ...component.ldflags].join(' '),
    '-o',
    out,
    ...Object.values(component.binaries),
  ];
}

/** Names the cache folder of a component: equal sources, flags and platform give an equal key. */
export function cacheKey(
  component: Component,
  sources: { readonly mod: string; readonly sum: string },
): string {
  const hash = createHash('sha256');
  const platform = `${process.platform}/${process.arch}`;
  const parts = [sources.mod, sources.sum, component.cgo, buildArgs(component, ''), platform];
  hash.update(JSON.stringify(component.folders ? [...parts, component.folders] : parts));
  return `${component.name}-${hash.digest('hex').slice(0, 16)}`;
}

/** {@link cacheKey} of the module as it lies in the checkout. */
export async function componentKey(component: Component): Promise<string> {
  const folder = join(GO_MODULES, component.name);
  const [mod, sum] = await Promise.all([
    readFile(join(folder, 'go.mod'), 'utf8'),
    readFile(join(folder, 'go.sum'), 'utf8'),
  ]);
  return cacheKey(component, { mod, sum });
}
