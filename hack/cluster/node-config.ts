import { join } from 'node:path';
import { stringify } from 'yaml';
import { renderFlags, kubeconfigFile } from './flags.ts';
import { certFile, keyFile } from './pki.ts';
import { DEFAULT_NAME, type Settings } from './settings.ts';

/** Where the parts of a native cluster lie; all below one directory. */
export type NodePaths = {
  readonly dir: string;
  readonly pki: string;
  readonly containerdSocket: string;
  readonly containerdConfig: string;
  readonly cniConfigDir: string;
  readonly cniDataDir: string;
  readonly kubeletDir: string;
  readonly kubeletConfig: string;
  readonly podLogs: string;
};

export function nodePaths(dir: string): NodePaths {
  return {
    dir,
    pki: join(dir, 'pki'),
    containerdSocket: join(dir, 'containerd.sock'),
    containerdConfig: join(dir, 'containerd.toml'),
    cniConfigDir: join(dir, 'cni'),
    cniDataDir: join(dir, 'cni-data'),
    kubeletDir: join(dir, 'kubelet'),
    kubeletConfig: join(dir, 'kubelet.yaml'),
    podLogs: join(dir, 'pod-logs'),
  };
}

/** The image of every pod's sandbox, built and imported by `up`. */
export const PAUSE_IMAGE = 'localhost/pause:dev';

/** containerd's configuration: nothing outside the state directory except the shims' sockets. */
export function containerdToml(
  paths: NodePaths,
  bin: { readonly cniDir: string; readonly runc: string },
): string {
  const { dir } = paths;
  return `version = 3
root = ${JSON.stringify(join(dir, 'containerd/root'))}
state = ${JSON.stringify(join(dir, 'containerd/state'))}

[grpc]
address = ${JSON.stringify(paths.containerdSocket)}

[plugins.'io.containerd.cri.v1.images']
snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = ${JSON.stringify(PAUSE_IMAGE)}

[plugins.'io.containerd.cri.v1.runtime']
# A machine without CAP_SYS_RESOURCE refuses oom scores below the current one, and runc then fails.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [${JSON.stringify(bin.cniDir)}]
conf_dir = ${JSON.stringify(paths.cniConfigDir)}
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = ${JSON.stringify(bin.runc)}
Root = ${JSON.stringify(join(dir, 'containerd/runc'))}
SystemdCgroup = false

[plugins.'io.containerd.internal.v1.opt']
path = ${JSON.stringify(join(dir, 'containerd/opt'))}
[plugins.'io.containerd.nri.v1.nri']
disable = true
`;
}

/** One bridge per cluster, addresses from the pod range, its first address on the bridge. */
export function cniConflist(paths: NodePaths, settings: Settings): string {
  const ipam = {
    type: 'host-local',
    dataDir: paths.cniDataDir,
    ranges: [[{ subnet: settings.podCidr }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  const bridge = { type: 'bridge', bridge: settings.bridge, isGateway: true, hairpinMode: true, ipam };
  return `${JSON.stringify({ cniVersion: '1.0.0', name: settings.name, plugins: [bridge] }, null, 2)}\n`;
}

/** The cgroup that holds the pods' cgroups: the root for the default cluster, an own one for every other. */
export const cgroupRoot = (settings: Settings): string =>
  settings.name === DEFAULT_NAME ? '/' : `/${settings.name}`;

/** Which name servers pods ask. */
export type Resolver = { readonly file: string; readonly nameservers: readonly string[] };

/** kubelet's configuration file. */
export function kubeletYaml(paths: NodePaths, settings: Settings, resolver: Resolver): string {
  return stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    port: settings.ports.kubelet,
    healthzPort: settings.ports.kubeletHealth,
    containerRuntimeEndpoint: `unix://${paths.containerdSocket}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: certFile(paths.pki, 'ca') },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: certFile(paths.pki, 'kubelet'),
    tlsPrivateKeyFile: keyFile(paths.pki, 'kubelet'),
    cgroupDriver: 'cgroupfs',
    cgroupRoot: cgroupRoot(settings),
    // Kubernetes 1.35 and later refuse a cgroup v1 machine unless told otherwise.
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: ['pods'],
    // No DNS server runs in this cluster: pods ask the machine's own, and find the API server by its IP.
    clusterDNS: resolver.nameservers,
    clusterDomain: 'cluster.local',
    resolvConf: resolver.file,
    podLogsDir: paths.podLogs,
    volumePluginDir: join(paths.dir, 'volume-plugins'),
    makeIPTablesUtilChains: false,
    maxPods: 250,
    serializeImagePulls: false,
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    kubeAPIQPS: 200,
    kubeAPIBurst: 400,
    eventRecordQPS: 100,
    eventBurst: 200,
    registryPullQPS: 0,
    podsPerCore: 0,
    nodeStatusUpdateFrequency: '10s',
    nodeLeaseDurationSeconds: 40,
    syncFrequency: '20s',
    shutdownGracePeriod: '0s',
    logging: { verbosity: 1 },
  });
}

export function kubeletArgs(paths: NodePaths, settings: Settings): readonly string[] {
  return renderFlags({
    config: paths.kubeletConfig,
    kubeconfig: kubeconfigFile(paths.dir, 'kubelet'),
    'root-dir': paths.kubeletDir,
    'cert-dir': paths.pki,
    'hostname-override': settings.nodeName,
    'node-ip': settings.address,
    'node-labels': 'analysis-operator.dev/cluster=native',
  });
}

/** kube-proxy in nftables mode; connection tracking limits stay the machine's own. */
export function kubeProxyArgs(paths: NodePaths, settings: Settings): readonly string[] {
  return renderFlags({
    kubeconfig: kubeconfigFile(paths.dir, 'kube-proxy'),
    'proxy-mode': 'nftables',
    'cluster-cidr': settings.podCidr,
    'hostname-override': settings.nodeName,
    'conntrack-max-per-core': 0,
    'conntrack-min': 0,
    'conntrack-tcp-timeout-established': '0s',
    'conntrack-tcp-timeout-close-wait': '0s',
    'healthz-bind-address': `127.0.0.1:${settings.ports.proxyHealth}`,
    'metrics-bind-address': `127.0.0.1:${settings.ports.proxyMetrics}`,
  });
}
