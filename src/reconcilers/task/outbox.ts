import { CALLBACK_EVENTS, type CallbackEvent } from '../../api/callbacks.ts';
import type { OutboxEntry, Phase, TaskStatus } from '../../api/task.ts';
import { sha256 } from '../../lib/hash.ts';
import type { Observed } from './observed.ts';

/*
 * Events are born in the very write that makes them true, so none can be lost, and their ids follow from what happened,
 * so a second delivery is recognised. An entry leaves the outbox when it was delivered or given up.
 */

const ENDS: Readonly<Partial<Record<Phase, CallbackEvent>>> = {
  Succeeded: 'succeeded',
  PartiallySucceeded: 'partiallySucceeded',
  Failed: 'failed',
  Cancelled: 'cancelled',
};

/** The outbox after a status became `next`; entries that were dealt with are gone. */
export function outboxOf(seen: Observed, next: TaskStatus): readonly OutboxEntry[] {
  const before = seen.task.status;
  const waiting = (before?.outbox ?? []).filter(({ id }) => !seen.callbacks.has(id));
  const started = before?.startedAt === undefined && next.startedAt !== undefined;
  const end = next.phase === before?.phase ? undefined : next.phase && ENDS[next.phase];
  return [...waiting, ...(started ? entries(seen, 'started', 1) : []), ...(end ? entries(seen, end, 2) : [])];
}

/** One entry for each endpoint of the task that wants the event. */
function entries({ task, policy, now }: Observed, event: CallbackEvent, sequence: number): OutboxEntry[] {
  const wanted = (task.spec.callbacks ?? []).filter((name) => policy.callbacks[name]?.events.includes(event));
  return wanted.map((endpoint) => ({
    id: eventId(task.metadata.uid, event, endpoint),
    type: CALLBACK_EVENTS[event],
    sequence,
    endpoint,
    time: now.toISOString(),
  }));
}

/** The same event of the same task has the same id for ever. */
function eventId(taskUid: string, event: CallbackEvent, endpoint: string): string {
  return `evt_${sha256(`${taskUid}/${event}/${endpoint}`).slice(0, 32)}`;
}
