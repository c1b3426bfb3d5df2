import { join } from 'node:path';
import { callApi } from './api.ts';
import { renderFlags } from './flags.ts';
import type { ProcessSpec } from './processes.ts';
import type { Settings } from './settings.ts';

/** kwok plays kubelet for all nodes that carry its annotation. */
export function kwokSpec(dir: string, settings: Settings): Omit<ProcessSpec, 'command'> {
  return {
    name: 'kwok',
    args: renderFlags({
      kubeconfig: join(dir, 'kubeconfig'),
      'manage-all-nodes': false,
      'manage-nodes-with-annotation-selector': 'kwok.x-k8s.io/node=fake',
      'node-lease-duration-seconds': 40,
      'server-address': `127.0.0.1:${settings.ports.kwok}`,
    }),
  };
}

/** A node without a machine: tainted, so that only pods which ask for it land there and "run" without a container. */
export function fakeNode(index: number, gpus: number): object {
  const name = `kwok-${index}`;
  const resources = {
    cpu: '64',
    memory: '512Gi',
    pods: '1000',
    'ephemeral-storage': '1Ti',
    'nvidia.com/gpu': String(gpus),
  };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: { 'kwok.x-k8s.io/node': 'fake', 'node.alpha.kubernetes.io/ttl': '0' },
      labels: {
        type: 'kwok',
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
      },
    },
    spec: { taints: [{ key: 'kwok.x-k8s.io/node', value: 'fake', effect: 'NoSchedule' }] },
    status: { capacity: resources, allocatable: resources },
  };
}

/** Registers fake nodes `kwok-0` and up; those that exist stay. */
export async function addFakeNodes(
  server: string,
  pkiDir: string,
  wish: { readonly count: number; readonly gpus: number },
): Promise<void> {
  for (let index = 0; index < wish.count; index += 1) {
    const answer = await callApi(server, pkiDir, {
      method: 'POST',
      path: '/api/v1/nodes',
      body: fakeNode(index, wish.gpus),
    });
    if (answer.status !== 201 && answer.status !== 409) {
      throw new Error(
        `fake node kwok-${index} was refused with ${answer.status}: ${answer.body.slice(0, 300)}`,
      );
    }
  }
}
