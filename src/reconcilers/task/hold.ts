import { FINALIZER } from '../../api/keys.ts';
import { isTerminal } from '../../api/task.ts';
import type { Observed } from './observed.ts';

/**
 * The finalizers that a task should have, or undefined when it has them. A task with callbacks is held before anything is
 * decided about it, and let go of when it has ended and every event was delivered or given up: an event must not vanish
 * with its task.
 */
export function holdOf({ task, callbacks }: Observed): readonly string[] | undefined {
  const { metadata, spec, status } = task;
  const finalizers = metadata.finalizers ?? [];
  const isHeld = finalizers.includes(FINALIZER.callbacks);
  const isOver = isTerminal(status?.phase) && (status?.outbox ?? []).every(({ id }) => callbacks.has(id));
  if (isHeld && isOver) return finalizers.filter((name) => name !== FINALIZER.callbacks);
  const wants =
    (spec.callbacks ?? []).length > 0 && !isTerminal(status?.phase) && !metadata.deletionTimestamp;
  return wants && !isHeld ? [...finalizers, FINALIZER.callbacks] : undefined;
}
