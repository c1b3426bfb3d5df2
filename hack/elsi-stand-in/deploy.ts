import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Kube } from '../demo/kube.ts';
import { type AuditEntry, auditEntry, type StoredTask, storedTask } from './store.ts';

/** Also the name of its Deployment, its Service and its label. */
export const STAND_IN = 'elsi-stand-in';
const CREDENTIALS = 'elsi-credentials';
const PORT = 8090;
const CLIENT_ID = 'analysis-operator';

/** A stand-in for ELSI in a cluster, reached through the API server. */
export interface DeployedStandIn {
  /** For pods. An address, because not every cluster resolves names of Services. */
  readonly url: string;
  /** Waits until it answers. */
  ready(): Promise<void>;
  add(task: Pick<StoredTask, 'task_uid' | 'model_name' | 'dataset_uid_label'>): Promise<void>;
  tasks(): Promise<readonly StoredTask[]>;
  /** Every PUT that it has carried out. */
  audit(): Promise<readonly AuditEntry[]>;
}

const service = z.object({ spec: z.object({ clusterIP: z.string() }) });

/** Puts the stand-in and its credentials into a namespace, or takes what is there. */
export async function deployStandIn(kube: Kube, namespace: string, image: string): Promise<DeployedStandIn> {
  if ((await kube.get(`/api/v1/namespaces/${namespace}/secrets/${CREDENTIALS}`)) === undefined)
    await kube.apply([credentials(namespace)]);
  await kube.apply([standInService(namespace), deployment(namespace, image)]);
  const base = `/api/v1/namespaces/${namespace}/services`;
  const { clusterIP } = service.parse(await kube.get(`${base}/${STAND_IN}`)).spec;
  const control = `${base}/http:${STAND_IN}:${PORT}/proxy/stand-in`;
  return {
    url: `http://${clusterIP.includes(':') ? `[${clusterIP}]` : clusterIP}:${PORT}`,
    async ready() {
      const args = ['rollout', 'status', `deployment/${STAND_IN}`, '-n', namespace, '--timeout=90s'];
      await kube.run(args);
    },
    async add(task) {
      await kube.run(['create', '--raw', `${control}/tasks`, '-f', '-'], JSON.stringify(task));
    },
    tasks: async () => z.array(storedTask).parse(await kube.get(`${control}/tasks`)),
    audit: async () => z.array(auditEntry).parse(await kube.get(`${control}/audit`)),
  };
}

const labels = { app: STAND_IN };

function credentials(namespace: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: CREDENTIALS, namespace, labels },
    stringData: { client_id: CLIENT_ID, client_secret: randomBytes(24).toString('base64') },
  };
}

function standInService(namespace: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: STAND_IN, namespace, labels },
    spec: { selector: labels, ports: [{ name: 'http', port: PORT, targetPort: 'http' }] },
  };
}

function deployment(namespace: string, image: string): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: STAND_IN, namespace, labels },
    spec: {
      replicas: 1,
      strategy: { type: 'Recreate' },
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec(image) },
    },
  };
}

function podSpec(image: string): object {
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
        name: STAND_IN,
        image,
        imagePullPolicy: 'IfNotPresent',
        args: ['--host', '0.0.0.0', '--port', String(PORT), '--client-id', CLIENT_ID].concat(
          ['--secret-file', '/etc/credentials/client_secret'],
          ['--file', '/var/stand-in/tasks.json'],
        ),
        ports: [{ name: 'http', containerPort: PORT }],
        readinessProbe: {
          httpGet: { path: '/stand-in/tasks', port: 'http' },
          periodSeconds: 1,
          failureThreshold: 60,
        },
        resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          readOnlyRootFilesystem: true,
        },
        volumeMounts: [
          { name: 'credentials', mountPath: '/etc/credentials', readOnly: true },
          { name: 'state', mountPath: '/var/stand-in' },
        ],
      },
    ],
    volumes: [
      { name: 'credentials', secret: { secretName: CREDENTIALS } },
      { name: 'state', emptyDir: {} },
    ],
  };
}
