import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kubeconfigFile, type ControlPlaneLayout } from './flags.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { ensureCa, ensureCert, ensureServiceAccountKey, type CertRequest } from './pki.ts';

/** Client certificates of the control plane, and who they are. */
const CLIENTS: readonly CertRequest[] = [
  { name: 'admin', ca: 'ca', commonName: 'admin', groups: ['system:masters'] },
  { name: 'controller-manager', ca: 'ca', commonName: 'system:kube-controller-manager' },
  { name: 'scheduler', ca: 'ca', commonName: 'system:kube-scheduler' },
  {
    name: 'apiserver-kubelet-client',
    ca: 'ca',
    commonName: 'apiserver-kubelet-client',
    groups: ['system:masters'],
  },
  { name: 'front-proxy-client', ca: 'front-proxy-ca', commonName: 'front-proxy-client' },
];

/** Makes the CAs, certificates, keys and kubeconfigs of a control plane; what is valid stays. */
export async function ensureCredentials(
  layout: ControlPlaneLayout,
  options: {
    readonly context: string;
    readonly extraCerts?: readonly CertRequest[];
    readonly users?: readonly string[];
  },
): Promise<void> {
  const { dir, pki } = layout;
  await mkdir(pki, { recursive: true });
  await Promise.all([ensureCa(pki, 'ca'), ensureCa(pki, 'front-proxy-ca'), ensureServiceAccountKey(pki)]);
  const requests = [apiserverCert(layout), ...CLIENTS, ...(options.extraCerts ?? [])];
  for (const request of requests) await ensureCert(pki, request);
  const server = `https://${layout.address}:${layout.ports.apiserver}`;
  for (const user of ['controller-manager', 'scheduler', ...(options.users ?? [])]) {
    await writeKubeconfig(kubeconfigFile(dir, user), {
      server,
      pkiDir: pki,
      cert: user,
      context: options.context,
    });
  }
  await writeKubeconfig(join(dir, 'kubeconfig'), {
    server,
    pkiDir: pki,
    cert: 'admin',
    context: options.context,
  });
}

/** First address of a service range: the `kubernetes` service's cluster IP. */
export function firstServiceIp(serviceCidr: string): string {
  const [network = ''] = serviceCidr.split('/');
  return network.replace(/\d+$/, (last) => String(Number(last) + 1));
}

function apiserverCert(layout: ControlPlaneLayout): CertRequest {
  const names = [
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ];
  const ips = [...new Set(['127.0.0.1', layout.address, firstServiceIp(layout.serviceCidr)])];
  const sans = [...['localhost', ...names].map((name) => `DNS:${name}`), ...ips.map((ip) => `IP:${ip}`)];
  return { name: 'apiserver', ca: 'ca', commonName: 'kube-apiserver', sans };
}

/** Makes a static admin token (user `admin`, group `system:masters`) in the API server's CSV form and returns it. */
export async function ensureAdminToken(file: string): Promise<string> {
  if (!existsSync(file)) {
    await writeFile(file, `${randomBytes(24).toString('hex')},admin,admin,"system:masters"\n`, {
      mode: 0o600,
    });
  }
  const [token = ''] = (await readFile(file, 'utf8')).split(',');
  return token;
}
