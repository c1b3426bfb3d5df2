import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { callApi } from './api.ts';
import { renderFlags } from './flags.ts';
import type { ProcessSpec } from './processes.ts';
import type { Settings } from './settings.ts';
import { waitFor } from './wait.ts';

const STAGES = join(import.meta.dirname, 'kwok-stages.yaml');
const READY_LIMIT_MS = 60_000;

/** kwok plays kubelet for all nodes that carry its annotation. */
export async function kwokSpec(dir: string, settings: Settings): Promise<Omit<ProcessSpec, 'command'>> {
  return {
    name: 'kwok',
    configuration: await readFile(STAGES, 'utf8'),
    args: renderFlags({
      config: STAGES,
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

/** Registers fake nodes `kwok-0` and up, those that exist stay; resolves when the last one is Ready. */
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
  const last = `/api/v1/nodes/kwok-${wish.count - 1}`;
  const ready = async (): Promise<boolean> =>
    Status.parse(JSON.parse((await callApi(server, pkiDir, { path: last })).body)).status.conditions.some(
      ({ type, status }) => type === 'Ready' && status === 'True',
    );
  await waitFor('the fake nodes are Ready', ready, {
    limitMs: READY_LIMIT_MS,
    hint: 'see logs/kwok.log in the state directory',
  });
}

const Status = z.object({
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })) }),
});
