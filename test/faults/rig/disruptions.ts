import { z } from 'zod';
import type { PodView } from '../../../src/jobs/views.ts';
import { controlPlane, deleteAtEnd, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import type { Pod } from './pod.ts';
import { disruption } from './pod-status.ts';

/** What a cluster and its administrators do to nodes and pods. */

const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const nodePath = (name: string): string => `/api/v1/nodes/${name}`;
const podPath = ({ metadata }: Pod): string =>
  `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;

/** As `kubectl drain` does: the API server marks the pod as disrupted and deletes it gracefully. */
export async function evict(pod: Pod): Promise<void> {
  const { name, namespace } = pod.metadata;
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
  await controlPlane().api.call('POST', `${podPath(pod)}/eviction`, { body });
}

/** As `kubectl delete pod --force` does. */
export async function forceAway({ metadata }: Pick<PodView, 'metadata'>): Promise<void> {
  const body = { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 };
  const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
  expectOk(await controlPlane().api.call('DELETE', path, { body }));
}

/** Marks a pod as disrupted without taking it away, as an eviction does whose deletion then failed. */
export async function markDisrupted(pod: Pod): Promise<void> {
  const lastTransitionTime = new Date().toISOString();
  const conditions = [
    { ...disruption('EvictionByEvictionAPI', 'Eviction API: evicting'), lastTransitionTime },
  ];
  const body = { metadata: { uid: pod.metadata.uid }, status: { conditions } };
  expectOk(
    await controlPlane().api.call('PATCH', `${podPath(pod)}/status`, { body, contentType: STRATEGIC }),
  );
}

/** Unknown is what the node controller writes when a node's heartbeats stop; its taints and evictions are then real. */
export async function setReady(node: string, ready: 'True' | 'Unknown'): Promise<void> {
  const now = new Date().toISOString();
  const reason = ready === 'True' ? 'KubeletReady' : 'NodeStatusUnknown';
  const conditions = [
    { type: 'Ready', status: ready, reason, lastHeartbeatTime: now, lastTransitionTime: now },
  ];
  const options = { body: { status: { conditions } }, contentType: STRATEGIC };
  expectOk(await controlPlane().api.call('PATCH', `${nodePath(node)}/status`, options));
}

export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: 'NoSchedule' | 'NoExecute';
}

const tainted = z.object({
  spec: z.object({ taints: z.array(z.looseObject({ key: z.string() })).default([]) }),
});

/** Adds a taint, or takes away those of its key when there is none to add. */
export async function setTaint(node: string, key: string, taint?: Omit<Taint, 'key'>): Promise<void> {
  const { spec } = tainted.parse(expectOk(await controlPlane().api.call('GET', nodePath(node))));
  const taints = [...spec.taints.filter((other) => other.key !== key), ...(taint ? [{ key, ...taint }] : [])];
  const options = { body: { spec: { taints } }, contentType: MERGE };
  expectOk(await controlPlane().api.call('PATCH', nodePath(node), options));
}

export async function deleteNode(name: string): Promise<void> {
  expectOk(await controlPlane().api.call('DELETE', nodePath(name)));
}

/** What a device plugin reports when GPUs come or go. */
export async function setGpus(node: string, count: number): Promise<void> {
  const resources = { 'nvidia.com/gpu': String(count) };
  const options = { body: { status: { capacity: resources, allocatable: resources } }, contentType: MERGE };
  expectOk(await controlPlane().api.call('PATCH', `${nodePath(node)}/status`, options));
}

export async function priorityClass(name: string, value: number): Promise<void> {
  const path = '/apis/scheduling.k8s.io/v1/priorityclasses';
  const body = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name }, value };
  expectOk(await controlPlane().api.call('POST', path, { body }));
  deleteAtEnd(`${path}/${name}`);
}

/** A volume for the claim of a namespace, for the scheduler passes over pods whose claim is not bound. */
export async function bindStore(namespace: string): Promise<void> {
  const path = '/api/v1/persistentvolumes';
  const metadata = { name: `store-of-${namespace}` };
  const spec = {
    accessModes: ['ReadWriteMany'],
    storageClassName: '',
    capacity: { storage: '1Gi' },
    claimRef: { namespace, name: 'datasets' },
    nfs: { server: 'store.example.org', path: '/' },
  };
  expectOk(
    await controlPlane().api.call('POST', path, {
      body: { apiVersion: 'v1', kind: 'PersistentVolume', metadata, spec },
    }),
  );
  deleteAtEnd(`${path}/${metadata.name}`);
  await eventually('the claim is bound', async () => {
    const claim = `/api/v1/namespaces/${namespace}/persistentvolumeclaims/datasets`;
    const { status } = bound.parse(expectOk(await controlPlane().api.call('GET', claim)));
    return status.phase === 'Bound' ? true : undefined;
  });
}

const bound = z.object({ status: z.object({ phase: z.string() }) });

/** Runs something while a real scheduler runs; other rows bind their pods by hand. */
export async function withScheduler(run: () => Promise<void>): Promise<void> {
  const { pieces } = controlPlane();
  if (!pieces) throw new Error('a scheduler of our own needs a control plane of our own');
  await pieces.startPiece('kube-scheduler');
  try {
    await run();
  } finally {
    await pieces.stopPiece('kube-scheduler', 'SIGKILL');
  }
}
