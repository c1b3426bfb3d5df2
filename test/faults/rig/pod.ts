import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';

const rawPod = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
    deletionTimestamp: z.string().optional(),
  }),
  spec: z.object({
    nodeName: z.string().optional(),
    initContainers: z.array(z.object({ name: z.string(), image: z.string() })).default([]),
  }),
  status: z.object({ phase: z.string().optional() }).optional(),
});
export type Pod = z.output<typeof rawPod>;
export const podList = z.object({ items: z.array(rawPod) });

export const podPath = ({ metadata }: Pod): string =>
  `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;

/** Waits so long (for ever without a time), or until the signal aborts. */
export async function untilAborted(ms: number | undefined, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  if (ms === undefined) await once(signal, 'abort');
  else await pause(ms, undefined, { signal }).catch(() => undefined);
}
