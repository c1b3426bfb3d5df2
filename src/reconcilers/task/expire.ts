import { z } from 'zod';
import { isConflict } from '../../controller/api-error.ts';
import type { ResourceClient } from '../../controller/client.ts';
import { type Clock, delay } from '../../controller/clock.ts';
import type { Log } from '../../controller/log.ts';
import type { KubeObject } from '../../controller/resources.ts';

const settledTask = z.object({
  spec: z.object({ ttlSecondsAfterSettled: z.number().optional() }),
  status: z.object({ settled: z.boolean().optional(), finishedAt: z.string().optional() }).optional(),
});

/** Whether a task's time is over: settled, with a ttl, and older than it. Published outputs are not touched. */
export function isExpired(raw: unknown, now: Date): boolean {
  const { data } = settledTask.safeParse(raw);
  const ttl = data?.spec.ttlSecondsAfterSettled;
  const { settled, finishedAt } = data?.status ?? {};
  if (ttl === undefined || !settled || !finishedAt) return false;
  return now.getTime() - Date.parse(finishedAt) >= ttl * 1000;
}

export interface ExpiryDeps {
  readonly tasks: ResourceClient<KubeObject>;
  readonly namespaces: readonly (string | undefined)[];
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Pages slowly through the settled tasks, which nobody watches, and deletes the expired ones. */
export async function expireTasks(deps: ExpiryDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      for (const namespace of deps.namespaces) await sweep(deps, namespace, signal);
    } catch (error) {
      if (!signal.aborted) deps.log.warn('Cannot look for expired tasks', { error });
    }
    await delay(deps.clock, deps.intervalMs, signal).catch(() => undefined);
  }
}

async function sweep(
  { tasks, clock, log }: ExpiryDeps,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  for await (const page of tasks.pages({
    namespace,
    fieldSelector: 'status.settled=true',
    limit: 250,
    signal,
  })) {
    for (const task of page.items.filter((item) => isExpired(item, clock.now()))) {
      const { uid, resourceVersion } = task.metadata;
      // The version as well: a ttl that was raised a moment ago must count.
      const gone = await tasks
        .delete(task.metadata, { uid, resourceVersion, propagationPolicy: 'Background', signal })
        .catch((error: unknown) => (isConflict(error) ? false : Promise.reject(error)));
      if (gone)
        log.info('Deleted an expired task', { namespace: task.metadata.namespace, task: task.metadata.name });
    }
  }
}
