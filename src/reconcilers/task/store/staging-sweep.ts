import { z } from 'zod';
import { isTerminal, taskStatus } from '../../../api/task.ts';
import { type StagingEntry, stagingAnswer, sweepAnswer, type SweepRequest } from '../../../api/store.ts';
import type { ResourceClient } from '../../../controller/client.ts';
import { type Clock, delay } from '../../../controller/clock.ts';
import type { Log } from '../../../controller/log.ts';
import type { KubeObject } from '../../../controller/resources.ts';
import { type StoreClient, StoreError } from './client.ts';

/** How long staging must have been idle before it goes, in seconds. */
export interface SweepPolicy {
  /** Of tasks that are settled: long enough for a forgotten container to be noticed. */
  readonly settledSeconds: number;
  /** Of tasks that this cluster does not know: deleted ones, or those of somebody else who uses the volume. 0: never. */
  readonly unknownSeconds: number;
}

export interface StagingSweepDeps {
  readonly client: Pick<StoreClient, 'ask'>;
  readonly tasks: Pick<ResourceClient<KubeObject>, 'pages'>;
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
    if (signal.aborted) return;
    await sweepRound(deps, signal).catch((error: unknown) => {
      if (!signal.aborted) deps.log.warn('Cannot sweep staging', { error });
    });
  }
}

/**
 * Directories first, tasks second: a task is older than its staging, so one whose directory is in a list is in the
 * later list of tasks, unless it is over. The tasks are listed once, however many stores there are.
 */
export async function sweepRound(deps: StagingSweepDeps, signal: AbortSignal): Promise<void> {
  const { client, policy, hasLivePod } = deps;
  const found = new Map<string, readonly StagingEntry[]>();
  for (const namespace of deps.stores())
    await withStore(deps, namespace, signal, async () => {
      const asked = { body: {}, answer: stagingAnswer, signal };
      const { entries, complete } = await client.ask(namespace, 'staging', asked);
      if (!complete)
        deps.log.debug('The list of staging is not whole, the next round has the rest', { namespace });
      if (entries.length > 0) found.set(namespace, entries);
    });
  if (found.size === 0) return;
  const tasks = await listTasks(deps, signal);
  for (const [namespace, entries] of found) {
    const remove = doomed(entries, { tasks, hasLivePod, policy });
    if (remove.length > 0)
      await withStore(deps, namespace, signal, () => sweepStore(deps, namespace, { remove, signal }));
  }
}

async function sweepStore(
  { client, log }: StagingSweepDeps,
  namespace: string,
  { remove, signal }: SweepRequest & { readonly signal: AbortSignal },
): Promise<void> {
  const body = { remove };
  const { removed, kept } = await client.ask(namespace, 'sweep', { body, answer: sweepAnswer, signal });
  const first = kept[0]?.reason;
  log.info('Removed staging that no task needs', { namespace, removed, kept: kept.length, first });
}

/** One store that cannot be asked stops no other. */
async function withStore(
  { log }: StagingSweepDeps,
  namespace: string,
  signal: AbortSignal,
  ask: () => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  await ask().catch((error: unknown) => {
    if (signal.aborted) throw error;
    // The book of surveys tells when an agent is down.
    if (error instanceof StoreError) log.debug('Cannot sweep staging', { namespace, error });
    else log.warn('Cannot sweep staging', { namespace, error });
  });
}

const listedTask = z.object({
  metadata: z.object({ uid: z.string() }),
  status: z.object({ phase: z.unknown(), settled: z.unknown(), retryOf: z.unknown() }).partial().optional(),
});
const retried = z.object({ uid: z.string() });

/**
 * Every task there is, by UID: true when it is settled and no other one retries it. Read from the API server now: no
 * cache decides here.
 */
async function listTasks(
  { tasks, watched }: StagingSweepDeps,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, boolean>> {
  const found = new Map<string, boolean>();
  const needed: string[] = [];
  for (const namespace of watched) {
    for await (const page of tasks.pages({ namespace, signal })) {
      for (const item of page.items) {
        const { uid, isSettled, needs } = readTask(item);
        found.set(uid, isSettled);
        needed.push(...needs);
      }
    }
  }
  // Deleted or not: a retry copies from its staging.
  for (const uid of needed) found.set(uid, false);
  return found;
}

/** `needs`: UIDs of tasks from whose staging this one may still copy. */
function readTask(item: KubeObject): { uid: string; isSettled: boolean; needs: readonly string[] } {
  const { metadata, status } = listedTask.parse(item);
  const phase = taskStatus.shape.phase.safeParse(status?.phase).data;
  const isSettled = isTerminal(phase) && status?.settled === true;
  const earlier = retried.safeParse(status?.retryOf).data;
  return { uid: metadata.uid, isSettled, needs: isSettled || !earlier ? [] : [earlier.uid] };
}

export interface Knowledge {
  /** UIDs of all tasks, read after the entries; true for settled ones that no other one retries. */
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
