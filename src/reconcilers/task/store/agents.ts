/** Everything of the task controller that speaks with store agents, wired together. */
import { once } from 'node:events';
import type { ResourceClient } from '../../../controller/client.ts';
import { systemClock } from '../../../controller/clock.ts';
import type { KubeObject } from '../../../controller/resources.ts';
import type { Log } from '../../../controller/log.ts';
import { isAlive } from '../../../jobs/views.ts';
import { keysOf, type TaskInformers } from '../informers.ts';
import { type StagingSweepDeps, sweepStaging, type SweepPolicy } from './staging-sweep.ts';
import { createStoreBook, type StoreBook } from './book.ts';
import { createStoreClient, type StoreAgentOptions } from './client.ts';

export interface StoreAgentsOptions extends StoreAgentOptions {
  readonly sweep: SweepPolicy;
  /** Pause between two sweeps; undefined: no sweeps. */
  readonly sweepIntervalMs: number | undefined;
}

export interface StoreAgentsDeps {
  readonly options: StoreAgentsOptions;
  readonly informers: TaskInformers;
  readonly tasks: ResourceClient<KubeObject>;
  readonly watched: StagingSweepDeps['watched'];
  readonly enqueue: (key: string) => void;
  readonly log: Log;
}

export interface StoreAgents {
  readonly book: StoreBook;
  /** Sweeps until the signal aborts, then ends all questions. */
  run(): Promise<void>;
}

export function startStoreAgents(deps: StoreAgentsDeps, signal: AbortSignal): StoreAgents {
  const { options, informers, tasks, watched, enqueue, log } = deps;
  const client = createStoreClient(options);
  const changed = (uid: string): void => keysOf(informers, uid).forEach((key) => enqueue(key));
  const { timeoutMs, sweep: policy, sweepIntervalMs: intervalMs } = options;
  const book = createStoreBook({ client, timeoutMs, changed, clock: systemClock, log, signal });
  for (const scoped of informers.tasks)
    scoped.onChange((type, task) => type === 'deleted' && book.forget(task.metadata.uid));
  const stores = (): string[] =>
    informers.claims
      .flatMap((scoped) => [...scoped.values()])
      .flatMap(({ metadata }) => metadata.namespace ?? []);
  const hasLivePod = (uid: string): boolean =>
    informers.pods.flatMap((scoped) => scoped.byIndex('task', uid)).some(isAlive);
  const run = async (): Promise<void> => {
    if (intervalMs !== undefined)
      await sweepStaging(
        { client, tasks, watched, stores, hasLivePod, policy, intervalMs, clock: systemClock, log },
        signal,
      );
    else if (!signal.aborted) await once(signal, 'abort');
    await client.close();
  };
  return { book, run };
}
