import { mkdir, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { callApi } from './api.ts';
import type { Settings } from './settings.ts';
import { waitFor } from './wait.ts';

const DEVICE_PLUGINS = '/var/lib/kubelet/device-plugins';
/** A file whose presence tells kubelet that the node is not new. */
export const CHECKPOINT_FILE = `${DEVICE_PLUGINS}/analysis-operator`;

const Node = z.object({
  status: z.object({
    capacity: z.record(z.string(), z.string()).optional(),
    allocatable: z.record(z.string(), z.string()).optional(),
    conditions: z.array(z.object({ type: z.string(), status: z.string() })).optional(),
  }),
});

/** A kubelet that finds no device checkpoint at its start sets all extended resources of its node to 0: give it one. */
export async function keepExtendedResources(): Promise<void> {
  await mkdir(DEVICE_PLUGINS, { recursive: true });
  await writeFile(CHECKPOINT_FILE, '');
}

/** Waits until the node is Ready and offers the fake GPUs. */
export async function ensureNodeReady(server: string, pkiDir: string, settings: Settings): Promise<void> {
  const path = `/api/v1/nodes/${settings.nodeName}`;
  const read = async (): Promise<z.output<typeof Node> | undefined> => {
    const answer = await callApi(server, pkiDir, { path });
    return answer.status === 200 ? Node.parse(JSON.parse(answer.body)) : undefined;
  };
  const wanted = String(settings.gpus);
  await waitFor(
    `node ${settings.nodeName} is Ready with ${wanted} nvidia.com/gpu`,
    async () => {
      const node = await read();
      if (node === undefined) return false;
      const { capacity, allocatable, conditions = [] } = node.status;
      const offered = capacity?.['nvidia.com/gpu'] === wanted && allocatable?.['nvidia.com/gpu'] === wanted;
      if (!offered) await patchGpus(server, pkiDir, { path, gpus: wanted });
      return offered && conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
    },
    {
      limitMs: 60_000,
      everyMs: 200,
      hint: 'see logs/kubelet.log and logs/containerd.log in the state directory',
    },
  );
}

async function patchGpus(
  server: string,
  pkiDir: string,
  wish: { readonly path: string; readonly gpus: string },
): Promise<void> {
  const resources = { 'nvidia.com/gpu': wish.gpus };
  await callApi(server, pkiDir, {
    method: 'PATCH',
    path: `${wish.path}/status`,
    contentType: 'application/strategic-merge-patch+json',
    body: { status: { capacity: resources, allocatable: resources } },
  });
}
