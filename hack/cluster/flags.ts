import { join } from 'node:path';
import { certFile, keyFile } from './pki.ts';

/** Flag name (without `--`) -> value; a list repeats nothing but joins by comma, undefined leaves the flag out. */
export type Flags = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** Renders flags as `--name=value` in the order given. */
export function renderFlags(flags: Flags): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    if (value === undefined) return [];
    return [`--${name}=${Array.isArray(value) ? value.join(',') : String(value)}`];
  });
}

/** What the flags of a control plane depend on; all paths absolute. */
export type ControlPlaneLayout = {
  readonly dir: string;
  readonly pki: string;
  /** The address that clients and pods use; also advertised as the `kubernetes` service's endpoint. */
  readonly address: string;
  /** Where the API server listens: `0.0.0.0` when pods must reach it, `127.0.0.1` for tests. */
  readonly bindAddress: string;
  readonly serviceCidr: string;
  readonly ports: {
    readonly apiserver: number;
    readonly etcd: number;
    readonly etcdPeer: number;
    readonly controllerManager: number;
    readonly scheduler: number;
  };
  readonly tokenFile?: string;
  /** An audit policy file switches the audit log on (JSON lines in `<dir>/logs/audit.log`). */
  readonly auditPolicyFile?: string;
};

/** Paths that several flags share. */
export const kubeconfigFile = (dir: string, user: string): string => join(dir, `${user}.kubeconfig`);
export const auditLogFile = (dir: string): string => join(dir, 'logs', 'audit.log');

/** etcd for throw-away data: no fsync, loopback only. */
export function etcdArgs(layout: ControlPlaneLayout): readonly string[] {
  const client = `http://127.0.0.1:${layout.ports.etcd}`;
  const peer = `http://127.0.0.1:${layout.ports.etcdPeer}`;
  return renderFlags({
    name: 'default',
    'data-dir': join(layout.dir, 'etcd'),
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `default=${peer}`,
    'unsafe-no-fsync': true,
    'quota-backend-bytes': 8 * 1024 ** 3,
    'auto-compaction-mode': 'periodic',
    'auto-compaction-retention': '10m',
    'log-level': 'warn',
  });
}

/** The API server; `extra` flags win. */
export function apiserverArgs(layout: ControlPlaneLayout, extra: Flags = {}): readonly string[] {
  const { pki, ports } = layout;
  return renderFlags({
    'advertise-address': layout.address,
    'bind-address': layout.bindAddress,
    'secure-port': ports.apiserver,
    'etcd-servers': `http://127.0.0.1:${ports.etcd}`,
    'service-cluster-ip-range': layout.serviceCidr,
    'allow-privileged': true,
    'authorization-mode': ['Node', 'RBAC'],
    'enable-admission-plugins': 'NodeRestriction',
    'cert-dir': pki,
    'client-ca-file': certFile(pki, 'ca'),
    'tls-cert-file': certFile(pki, 'apiserver'),
    'tls-private-key-file': keyFile(pki, 'apiserver'),
    'token-auth-file': layout.tokenFile,
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-key-file': join(pki, 'service-account.pub'),
    'service-account-signing-key-file': keyFile(pki, 'service-account'),
    'kubelet-certificate-authority': certFile(pki, 'ca'),
    'kubelet-client-certificate': certFile(pki, 'apiserver-kubelet-client'),
    'kubelet-client-key': keyFile(pki, 'apiserver-kubelet-client'),
    'kubelet-preferred-address-types': 'InternalIP',
    'proxy-client-cert-file': certFile(pki, 'front-proxy-client'),
    'proxy-client-key-file': keyFile(pki, 'front-proxy-client'),
    'requestheader-client-ca-file': certFile(pki, 'front-proxy-ca'),
    'requestheader-allowed-names': 'front-proxy-client',
    'requestheader-username-headers': 'X-Remote-User',
    'requestheader-group-headers': 'X-Remote-Group',
    'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
    ...(layout.auditPolicyFile === undefined
      ? {}
      : {
          'audit-policy-file': layout.auditPolicyFile,
          'audit-log-path': auditLogFile(layout.dir),
          'audit-log-mode': 'batch',
          // In megabytes: a log that is read by position must not be rotated under its reader.
          'audit-log-maxsize': 100_000,
        }),
    ...extra,
  });
}

/** All standard controllers: service account tokens, garbage collection, Jobs, volume binding and the rest; `extra` flags win. */
export function controllerManagerArgs(layout: ControlPlaneLayout, extra: Flags = {}): readonly string[] {
  const { pki } = layout;
  const kubeconfig = kubeconfigFile(layout.dir, 'controller-manager');
  return renderFlags({
    kubeconfig,
    'authentication-kubeconfig': kubeconfig,
    'authorization-kubeconfig': kubeconfig,
    'bind-address': '127.0.0.1',
    'secure-port': layout.ports.controllerManager,
    'cert-dir': pki,
    'cluster-signing-cert-file': certFile(pki, 'ca'),
    'cluster-signing-key-file': keyFile(pki, 'ca'),
    'root-ca-file': certFile(pki, 'ca'),
    'service-account-private-key-file': keyFile(pki, 'service-account'),
    'use-service-account-credentials': true,
    'flex-volume-plugin-dir': join(layout.dir, 'volume-plugins'),
    'leader-elect': false,
    'kube-api-qps': 200,
    'kube-api-burst': 400,
    ...extra,
  });
}

export function schedulerArgs(layout: ControlPlaneLayout): readonly string[] {
  const kubeconfig = kubeconfigFile(layout.dir, 'scheduler');
  return renderFlags({
    kubeconfig,
    'authentication-kubeconfig': kubeconfig,
    'authorization-kubeconfig': kubeconfig,
    'bind-address': '127.0.0.1',
    'secure-port': layout.ports.scheduler,
    'cert-dir': layout.pki,
    'leader-elect': false,
    'kube-api-qps': 200,
    'kube-api-burst': 400,
  });
}
