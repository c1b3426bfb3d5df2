import type { AnalysisTask } from './objects.ts';
import { sha256 } from '../lib/hash.ts';
import type { OutboxEntry, Phase } from './task.ts';

/** Events that a task tells to callback endpoints, in the order in which they happen. */
export const CALLBACK_EVENT_NAMES = [
  'started',
  'succeeded',
  'partiallySucceeded',
  'failed',
  'cancelled',
] as const;
export type CallbackEvent = (typeof CALLBACK_EVENT_NAMES)[number];

/** CloudEvents type of an event. */
const typeOf = (event: CallbackEvent): string => `dev.elsi.analysis.task.${event.toLowerCase()}`;

/** The event that tells each end. */
export const END_EVENTS: Readonly<Partial<Record<Phase, CallbackEvent>>> = {
  Succeeded: 'succeeded',
  PartiallySucceeded: 'partiallySucceeded',
  Failed: 'failed',
  Cancelled: 'cancelled',
};

/** An event on its way to one endpoint. The same event of the same task has the same id for ever. */
export function outboxEntry(
  taskUid: string,
  { event, sequence, endpoint, at }: { event: CallbackEvent; sequence: number; endpoint: string; at: Date },
): OutboxEntry {
  const id = `evt_${sha256(`${taskUid}/${event}/${endpoint}`).slice(0, 32)}`;
  return { id, type: typeOf(event), sequence, endpoint, time: at.toISOString() };
}

/** What decisions need to know of an endpoint; its address and secret stay with whoever delivers. */
export interface EndpointPolicy {
  readonly events: readonly CallbackEvent[];
  /** Namespaces whose tasks may name it; empty means all. */
  readonly namespaces: readonly string[];
}

/** Whether tasks of this namespace may name the endpoint. */
export const mayUse = ({ namespaces }: Pick<EndpointPolicy, 'namespaces'>, namespace: string): boolean =>
  namespaces.length === 0 || namespaces.includes(namespace);

/** How it ended with an event: the receiver has it, or it was given up. */
export type Ended = 'delivered' | 'givenUp';

/** What whoever delivers events sees of the tasks, and how it says what became of an event. */
export interface Outboxes {
  /** Tasks that may have events waiting, as the cluster shows them now. */
  readonly tasks: () => Iterable<AnalysisTask>;
  /** Events whose end the task's status does not show yet; whoever writes it reads them here. */
  readonly ended: Map<string, Ended>;
  /** Called when an event of the task ended. */
  readonly changed: (task: AnalysisTask, entry: OutboxEntry, ended: Ended) => void;
  /** Asked right before each delivery. */
  readonly mayAct: () => boolean;
}
