import { type CallbackEvent, END_EVENTS, mayUse, outboxEntry } from '../../api/callbacks.ts';
import type { OutboxEntry, TaskStatus } from '../../api/task.ts';
import type { Observed } from './observed.ts';

/*
 * Events are born in the very write that makes them true, so none can be lost, and their ids follow from what happened,
 * so a second delivery is recognised. An entry leaves the outbox when it was delivered or given up.
 */

/** The outbox after a status became `next`; entries that were dealt with are gone. */
export function outboxOf(seen: Observed, next: TaskStatus): readonly OutboxEntry[] {
  const before = seen.task.status;
  const waiting = (before?.outbox ?? []).filter(({ id }) => !seen.callbacks.has(id));
  const started = before?.startedAt === undefined && next.startedAt !== undefined;
  const end = next.phase === before?.phase ? undefined : next.phase && END_EVENTS[next.phase];
  return [...waiting, ...(started ? entries(seen, 'started', 1) : []), ...(end ? entries(seen, end, 2) : [])];
}

/** One entry for each endpoint of the task that wants the event, and that the task may use: a refused one learns nothing. */
function entries({ task, policy, now }: Observed, event: CallbackEvent, sequence: number): OutboxEntry[] {
  const wanted = (task.spec.callbacks ?? []).filter((name) => {
    const endpoint = policy.callbacks[name];
    return endpoint?.events.includes(event) && mayUse(endpoint, task.metadata.namespace);
  });
  return wanted.map((endpoint) => outboxEntry(task.metadata.uid, { event, sequence, endpoint, at: now }));
}
