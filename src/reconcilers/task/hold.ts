import { FINALIZER } from '../../api/keys.ts';
import { isTerminal } from '../../api/task.ts';
import type { Observed } from './observed.ts';

/**
 * The finalizers that a task should have, or undefined when it has them. A task with callbacks is held before anything is
 * decided about it, and let go of when it has ended and every event was delivered or given up: an event must not vanish
 * with its task.
 */
export function holdOf(seen: Observed): readonly string[] | undefined {
  const finalizers = seen.task.metadata.finalizers ?? [];
  if (!finalizers.includes(FINALIZER.callbacks))
    return hasEventsToCome(seen) ? [...finalizers, FINALIZER.callbacks] : undefined;
  return isTold(seen) ? finalizers.filter((name) => name !== FINALIZER.callbacks) : undefined;
}

function hasEventsToCome({ task: { metadata, spec, status } }: Observed): boolean {
  return (spec.callbacks ?? []).length > 0 && !isTerminal(status?.phase) && !metadata.deletionTimestamp;
}

function isTold({ task: { status }, callbacks }: Observed): boolean {
  return isTerminal(status?.phase) && (status?.outbox ?? []).every(({ id }) => callbacks.has(id));
}
