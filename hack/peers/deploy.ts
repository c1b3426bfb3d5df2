import { z } from 'zod';
import type { Kube } from '../demo/kube.ts';
import type { Peer } from './image.ts';

export interface PeerOptions {
  /** Also the name of its Deployment and its Service. */
  readonly peer: Peer;
  readonly namespace: string;
  readonly image: string;
  readonly args: readonly string[];
  /** Made once and then kept, with these values; its keys are files below /etc/credentials. */
  readonly secret: { readonly name: string; readonly values: () => Readonly<Record<string, string>> };
  /** A GET of this path says that it is ready. */
  readonly probe: string;
}

/** A program that stands in for another system, in a pod; reached through the API server. */
export interface DeployedPeer {
  /** For pods. An address, because not every cluster resolves names of Services. */
  readonly url: string;
  /** Waits until it answers. */
  ready(): Promise<void>;
  get(path: string): Promise<unknown>;
  post(path: string, body: object): Promise<void>;
}

export const PEER_PORT = 8090;
const service = z.object({ spec: z.object({ clusterIP: z.string() }) });

/** Puts it into a namespace, or takes what is there. */
export async function deployPeer(kube: Kube, options: PeerOptions): Promise<DeployedPeer> {
  const { peer, namespace, secret } = options;
  const api = `/api/v1/namespaces/${namespace}`;
  if ((await kube.get(`${api}/secrets/${secret.name}`)) === undefined)
    await kube.apply([
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: secret.name, namespace },
        stringData: secret.values(),
      },
    ]);
  await kube.apply([serviceOf(options), deploymentOf(options)]);
  const { clusterIP } = service.parse(await kube.get(`${api}/services/${peer}`)).spec;
  const through = `${api}/services/http:${peer}:${PEER_PORT}/proxy`;
  return {
    url: `http://${clusterIP.includes(':') ? `[${clusterIP}]` : clusterIP}:${PEER_PORT}`,
    async ready() {
      await kube.run(['rollout', 'status', `deployment/${peer}`, '-n', namespace, '--timeout=90s']);
    },
    get: (path) => kube.get(`${through}${path}`),
    async post(path, body) {
      await kube.run(['create', '--raw', `${through}${path}`, '-f', '-'], JSON.stringify(body));
    },
  };
}

function serviceOf({ peer, namespace }: PeerOptions): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: peer, namespace },
    spec: { selector: { app: peer }, ports: [{ name: 'http', port: PEER_PORT, targetPort: 'http' }] },
  };
}

function deploymentOf(options: PeerOptions): object {
  const { peer, namespace } = options;
  const labels = { app: peer };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: peer, namespace },
    spec: {
      replicas: 1,
      strategy: { type: 'Recreate' },
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec(options) },
    },
  };
}

function podSpec({ peer, image, args, secret, probe }: PeerOptions): object {
  return {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 2,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      fsGroup: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: peer,
        image,
        imagePullPolicy: 'IfNotPresent',
        args,
        ports: [{ name: 'http', containerPort: PEER_PORT }],
        readinessProbe: { httpGet: { path: probe, port: 'http' }, periodSeconds: 1, failureThreshold: 60 },
        resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          readOnlyRootFilesystem: true,
        },
        volumeMounts: [
          { name: 'credentials', mountPath: '/etc/credentials', readOnly: true },
          { name: 'state', mountPath: '/var/state' },
        ],
      },
    ],
    volumes: [
      { name: 'credentials', secret: { secretName: secret.name } },
      { name: 'state', emptyDir: {} },
    ],
  };
}
