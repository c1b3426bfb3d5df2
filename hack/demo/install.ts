import { join } from 'node:path';
import { run } from '../cluster/exec.ts';
import { helmPath } from '../helm.ts';
import type { Access, Kube } from './kube.ts';
import { CLAIM, NAMESPACE, RELEASE, SYSTEM_NAMESPACE, VOLUME } from './names.ts';
import { POCKETSPHINX, SILERO } from './tasks.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };
const INSTALL_TIMEOUT = '180s';

/** A host path for a volume on the node, or the StorageClass of a cluster that brings shared volumes. */
export type VolumeSource = { readonly hostPath: string } | { readonly storageClass: string };

/** Both namespaces refuse every pod that asks for a privilege. */
export async function createNamespaces(kube: Kube): Promise<void> {
  await kube.apply(
    [NAMESPACE, SYSTEM_NAMESPACE].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: RESTRICTED },
    })),
  );
}

/** The shared volume and its claim in the namespace of the tasks. */
export async function createStore(kube: Kube, source: VolumeSource): Promise<void> {
  const size = { storage: '10Gi' };
  const shared = { accessModes: ['ReadWriteMany'] };
  const volume = {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: VOLUME },
    spec: {
      ...shared,
      capacity: size,
      storageClassName: '',
      persistentVolumeReclaimPolicy: 'Retain',
      claimRef: { namespace: NAMESPACE, name: CLAIM },
      ...('hostPath' in source ? { hostPath: { path: source.hostPath, type: 'Directory' } } : {}),
    },
  };
  const own = 'hostPath' in source;
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: CLAIM, namespace: NAMESPACE },
    spec: {
      ...shared,
      resources: { requests: size },
      storageClassName: own ? '' : source.storageClass,
      ...(own ? { volumeName: VOLUME } : {}),
    },
  };
  await kube.apply(own ? [volume, claim] : [claim]);
}

/** Installs or upgrades the chart and waits until controller and elsi-sync are ready. */
export async function installChart(
  access: Access,
  image: { readonly repository: string; readonly tag: string },
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const chart = join(ROOT, 'charts', 'analysis-operator');
  const settings = Object.entries({
    'image.repository': image.repository,
    'image.tag': image.tag,
    'config.allowTags': 'true',
    'config.store.claimName': CLAIM,
    'config.progress.intervalSeconds': '1',
    // Whatever else runs on the cluster is left alone, and the operator gets no rights there.
    'config.namespaces': `{${NAMESPACE}}`,
    ...values,
  }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const args = [
    'upgrade',
    '--install',
    RELEASE,
    chart,
    '--namespace',
    SYSTEM_NAMESPACE,
    '--take-ownership',
    '--wait',
    '--timeout',
    INSTALL_TIMEOUT,
  ];
  await run(await helmPath(), [...args, ...settings], {
    timeoutMs: 240_000,
    env: { KUBECONFIG: access.kubeconfig },
  });
}

/**
 * Applies the demo's models of the catalogue. One that differs from the installed one of the same name is replaced: it is
 * immutable.
 */
export async function applyModels(kube: Kube): Promise<void> {
  const files = [SILERO, POCKETSPHINX].flatMap((name) => ['-f', join(ROOT, 'models', `${name}.yaml`)]);
  const applied = await kube.attempt(['apply', ...files]);
  if (applied.code === 0) return;
  if (!applied.stderr.includes('immutable'))
    throw new Error(`kubectl apply ${files.join(' ')}: ${applied.stderr.trim()}`);
  await kube.run(['replace', '--force', ...files]);
}
