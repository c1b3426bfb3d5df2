import { END_EVENTS, mayUse, outboxEntry } from '../api/callbacks.ts';
import type { AnalysisTask } from '../api/objects.ts';
import type { Endpoint } from './config.ts';
import { deliverOnce } from './deliver.ts';

export interface ReplayOptions {
  readonly endpoints: Readonly<Record<string, Endpoint>>;
  /** Only to this one; undefined: to all that the task names. */
  readonly endpoint: string | undefined;
  readonly print: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Sends the event of a task's end once more, under the same id and with a new time: a receiver that has it drops it.
 * Returns how many endpoints did not take it. Throws for a task that has not ended.
 */
export async function replayEnd(task: AnalysisTask, options: ReplayOptions): Promise<number> {
  const { namespace, name, uid } = task.metadata;
  const { phase, finishedAt } = task.status ?? {};
  const event = phase && END_EVENTS[phase];
  if (!event || !finishedAt)
    throw new Error(
      `${namespace}/${name} has not ended (phase ${phase ?? 'none'}): there is nothing to send again`,
    );
  let failures = 0;
  for (const wanted of wantedEndpoints(task, options)) {
    const endpoint = options.endpoints[wanted];
    if (!endpoint)
      throw new Error(
        `endpoint "${wanted}" is not in the configuration: it has ${Object.keys(options.endpoints).join(', ') || 'none'}`,
      );
    if (!mayUse(endpoint, namespace))
      throw new Error(`endpoint "${wanted}" is not for tasks of namespace ${namespace}`);
    const entry = outboxEntry(uid, { event, sequence: 2, endpoint: wanted, at: new Date(finishedAt) });
    // oxlint-disable-next-line no-await-in-loop -- few endpoints, and one line after the other
    const answer = await deliverOnce({ task, entry, endpoint }, new Date(), options.signal);
    options.print(
      `${wanted}: ${entry.id} ${answer.is}${answer.is === 'delivered' ? '' : ` (${answer.why})`}`,
    );
    if (answer.is !== 'delivered') failures++;
  }
  return failures;
}

function wantedEndpoints({ spec, metadata }: AnalysisTask, { endpoint }: ReplayOptions): readonly string[] {
  const named = spec.callbacks ?? [];
  const wanted = endpoint === undefined ? named : named.filter((name) => name === endpoint);
  if (wanted.length > 0) return wanted;
  const asked = endpoint === undefined ? 'no callback endpoint' : `no callback endpoint "${endpoint}"`;
  throw new Error(
    `${metadata.namespace}/${metadata.name} names ${asked}: it names ${named.join(', ') || 'none'}`,
  );
}
