import { join } from 'node:path';
import { z } from 'zod';
import { callApi } from './api.ts';
import { serverOf, tableOf } from './native.ts';
import { DEFAULT_NAME, readSettings, type Settings } from './settings.ts';

/** The programs of a native cluster in the order of their start. */
const PROGRAMS = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'containerd',
  'kubelet',
] as const;

/** What a status says: whether all is well, and the lines to print. */
export type Status = { readonly up: boolean; readonly lines: readonly string[] };

const Nodes = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      status: z.object({
        allocatable: z.record(z.string(), z.string()).optional(),
        conditions: z.array(z.object({ type: z.string(), status: z.string() })).optional(),
      }),
    }),
  ),
});

/** Says of each program whether it runs, and of each node whether it is Ready. */
export async function nativeStatus(dir: string): Promise<Status> {
  const settings = await readSettings(dir);
  if (settings === undefined) return { up: false, lines: [`no cluster in ${dir}`] };
  const table = tableOf(dir);
  const recorded = await table.names();
  const expected = [
    ...PROGRAMS,
    ...(settings.name === DEFAULT_NAME ? ['kube-proxy'] : []),
    ...recorded.filter((name) => name === 'kwok'),
  ];
  const states = await Promise.all(expected.map(async (name) => ({ name, alive: await table.alive(name) })));
  const programs = states.map(
    ({ name, alive }) =>
      `${name.padEnd(24)} ${alive ? 'running' : `stopped: see ${join(dir, 'logs', `${name}.log`)}`}`,
  );
  const nodes = await nodeLines(settings, join(dir, 'pki'));
  return { up: states.every(({ alive }) => alive) && nodes.ready, lines: [...programs, ...nodes.lines] };
}

async function nodeLines(
  settings: Settings,
  pkiDir: string,
): Promise<{ readonly ready: boolean; readonly lines: readonly string[] }> {
  const answer = await callApi(serverOf(settings), pkiDir, { path: '/api/v1/nodes' }).catch(() => undefined);
  if (answer?.status !== 200)
    return { ready: false, lines: [`the API server at ${serverOf(settings)} does not answer`] };
  const nodes = Nodes.parse(JSON.parse(answer.body)).items.map(({ metadata, status }) => ({
    name: metadata.name,
    ready:
      status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false,
    gpus: status.allocatable?.['nvidia.com/gpu'] ?? '0',
  }));
  const shown = nodes
    .slice(0, 5)
    .map(
      (node) =>
        `node ${node.name.padEnd(19)} ${node.ready ? 'Ready' : 'not Ready'}, ${node.gpus} nvidia.com/gpu`,
    );
  const more = nodes.length > shown.length ? [`... and ${nodes.length - shown.length} nodes more`] : [];
  return {
    ready: nodes.some(({ name, ready }) => name === settings.nodeName && ready),
    lines: [...shown, ...more],
  };
}
