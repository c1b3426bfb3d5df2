import { z } from 'zod';
import { isTerminal, taskStatus } from '../../api/task.ts';
import { type StagingEntry, stagingAnswer, sweepAnswer, type SweepRequest } from '../../api/store.ts';
import type { ResourceClient } from '../../controller/client.ts';
import { type Clock, delay } from '../../controller/clock.ts';
import type { Log } from '../../controller/log.ts';
import type { KubeObject } from '../../controller/resources.ts';
import { type StoreClient, StoreError } from './store-client.ts';

/** How long staging must have been idle before it goes, in seconds. */
export interface SweepPolicy {
  /** Of tasks that are settled: long enough for a forgotten container to be noticed. */
  readonly settledSeconds: number;
  /** Of tasks that this cluster does not know: deleted ones, or those of somebody else who uses the volume. 0: never. */
  readonly unknownSeconds: number;
}

export interface StagingSweepDeps {
  readonly client: StoreClient;
  readonly tasks: ResourceClient<KubeObject>;
  /** Where tasks may be: undefined stands for all namespaces. */
  readonly watched: readonly (string | undefined)[];
  /** Namespaces that have a store. */
  readonly stores: () => readonly string[];
  /** Whether a pod of the task may still run. */
  readonly hasLivePod: (taskUid: string) => boolean;
  readonly policy: SweepPolicy;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A new leader does not wait a whole interval: else leaders that change often would never sweep. */
const FIRST_MS = 300_000;

/** Removes staging that no task needs, store by store, round after round, until the signal aborts. */
export async function sweepStaging(deps: StagingSweepDeps, signal: AbortSignal): Promise<void> {
  for (let pauseMs = Math.min(deps.intervalMs, FIRST_MS); !signal.aborted; pauseMs = deps.intervalMs) {
    await delay(deps.clock, pauseMs, signal).catch(() => undefined);
    for (const namespace of deps.stores()) {
      if (signal.aborted) return;
      await sweepStore(deps, namespace, signal).catch((error: unknown) => {
        // The book of surveys tells when an agent is down.
        if (error instanceof StoreError) deps.log.debug('Cannot sweep staging', { namespace, error });
        else if (!signal.aborted) deps.log.warn('Cannot sweep staging', { namespace, error });
      });
    }
  }
}

/**
 * Directories first, tasks second: a task is older than its staging, so one whose directory is in the list is in the
 * later list of tasks, unless it is over.
 */
export async function sweepStore(
  deps: StagingSweepDeps,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const { client, log, policy, hasLivePod } = deps;
  const { entries } = await client.ask(namespace, 'staging', { body: {}, answer: stagingAnswer, signal });
  if (entries.length === 0) return;
  const tasks = await listTasks(deps, signal);
  const remove = doomed(entries, { tasks, hasLivePod, policy });
  if (remove.length === 0) return;
  const { removed, kept } = await client.ask(namespace, 'sweep', {
    body: { remove },
    answer: sweepAnswer,
    signal,
  });
  log.info('Removed staging that no task needs', {
    namespace,
    removed,
    kept: kept.length,
    first: kept[0]?.reason,
  });
}

const listedTask = z.object({
  metadata: z.object({ uid: z.string() }),
  status: z.object({ phase: z.unknown(), settled: z.unknown() }).partial().optional(),
});

/** Every task there is, by UID: true when it is settled. Read from the API server now: no cache decides here. */
async function listTasks(
  { tasks, watched }: StagingSweepDeps,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, boolean>> {
  const found = new Map<string, boolean>();
  for (const namespace of watched) {
    for await (const page of tasks.pages({ namespace, signal })) {
      for (const item of page.items) {
        const { metadata, status } = listedTask.parse(item);
        const phase = taskStatus.shape.phase.safeParse(status?.phase).data;
        found.set(metadata.uid, isTerminal(phase) && status?.settled === true);
      }
    }
  }
  return found;
}

export interface Knowledge {
  /** UIDs of all tasks, read after the entries; true for settled ones. */
  readonly tasks: ReadonlyMap<string, boolean>;
  readonly hasLivePod: (taskUid: string) => boolean;
  readonly policy: SweepPolicy;
}

/** What may be removed. Pure. */
export function doomed(
  entries: readonly StagingEntry[],
  { tasks, hasLivePod, policy }: Knowledge,
): SweepRequest['remove'] {
  return entries.flatMap(({ dataset, name, idleSeconds, swept }) => {
    if (swept) return [{ dataset, name, minIdleSeconds: 0 }];
    const settled = tasks.get(name);
    if (settled === false || hasLivePod(name)) return [];
    if (settled === undefined && policy.unknownSeconds === 0) return [];
    const minIdleSeconds = settled === undefined ? policy.unknownSeconds : policy.settledSeconds;
    return idleSeconds >= minIdleSeconds ? [{ dataset, name, minIdleSeconds }] : [];
  });
}
