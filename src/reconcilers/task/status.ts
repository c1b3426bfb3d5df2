import { isDeepStrictEqual } from 'node:util';
import { FINALIZER } from '../../api/keys.ts';
import type { AnalysisTask } from '../../api/objects.ts';
import type { Condition } from '../../api/schema.ts';
import { isTerminal, type OutboxEntry, type Phase, type TaskStatus } from '../../api/task.ts';
import { withCondition } from '../../controller/conditions.ts';
import { truncate } from '../../lib/truncate.ts';
import { failureRules, type Observed } from './observed.ts';
import { outboxOf } from './outbox.ts';

export interface Report {
  readonly phase: Phase;
  readonly reason: string;
  readonly message: string;
}

type Change = { readonly [key in keyof TaskStatus]?: TaskStatus[key] | undefined };

/**
 * The status that follows from a report. Fields set to undefined in `change` are removed.
 * Returns the observed status itself when nothing changed, so that nothing is written.
 */
export function reported(seen: Observed, report: Report, change: Change = {}): TaskStatus | undefined {
  const before = seen.task.status;
  const message = truncate(report.message, 1000);
  const generation = seen.task.metadata.generation;
  const merged = withoutUndefined({
    ...before,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase: report.phase,
    reason: report.reason,
    message,
    ...change,
    conditions: conditionsOf(seen, report),
    ...(isTerminal(report.phase) ? ending(seen) : {}),
  });
  const status = withOutbox(seen, isWorking(report) ? merged : withoutEstimate(merged));
  return before && isDeepStrictEqual(before, status) ? before : status;
}

/** In the phase Running a task may also wait: for its queue, or for a pod that starts once more. */
function isWorking({ phase, reason }: Report): boolean {
  return phase === 'Running' && (reason === 'Running' || reason === 'Publishing');
}

/** When it ends cannot be told of what does not run. */
function withoutEstimate({ progress, ...rest }: TaskStatus): TaskStatus {
  if (!progress) return rest;
  const { estimatedCompletion: _p50, estimatedCompletionP90: _p90, ...counts } = progress;
  return { ...rest, progress: counts };
}

/**
 * The status with what is to be told about it and without what was told. With nothing left to tell, and nobody outside
 * that still has to learn the end, the terminal write is also the last one.
 */
export function withOutbox(seen: Observed, status: TaskStatus): TaskStatus {
  const { outbox: _before, ...rest } = status;
  const outbox = outboxOf(seen, status);
  const conditions = deliveryCondition(seen, outbox);
  const settled = isTerminal(status.phase)
    ? { settled: outbox.length === 0 && !isHeld(seen.task.metadata) }
    : {};
  return {
    ...rest,
    ...settled,
    ...conditions(status),
    ...(outbox.length > 0 ? { outbox: [...outbox] } : {}),
  };
}

/** CallbacksDelivered, for tasks that asked for callbacks: an event that was given up stays visible. */
function deliveryCondition(
  { task, callbacks, now }: Observed,
  outbox: readonly OutboxEntry[],
): (status: TaskStatus) => Pick<TaskStatus, 'conditions'> {
  if ((task.spec.callbacks ?? []).length === 0) return ({ conditions }) => (conditions ? { conditions } : {});
  const lost = (task.status?.outbox ?? []).filter(({ id }) => callbacks.get(id) === 'givenUp');
  const names = [...new Set(lost.map(({ endpoint }) => endpoint))].join(', ');
  return ({ conditions = [] }) => {
    const before = conditions.find(({ type }) => type === DELIVERED);
    const row = { type: DELIVERED, observedGeneration: task.metadata.generation };
    if (lost.length > 0) {
      const message = `Events for ${names} were given up; send them again with: analysis-operator callbacks replay`;
      return {
        conditions: [
          ...withCondition(conditions, { ...row, status: 'False', reason: GIVEN_UP, message }, now),
        ],
      };
    }
    if (before?.reason === GIVEN_UP) return { conditions };
    const told = outbox.length === 0 && isTerminal(task.status?.phase);
    const next = told
      ? { ...row, status: 'True' as const, reason: 'Delivered', message: '' }
      : { ...row, status: 'Unknown' as const, reason: 'Waiting', message: '' };
    return { conditions: [...withCondition(conditions, next, now)] };
  };
}

const DELIVERED = 'CallbacksDelivered';
const GIVEN_UP = 'GivenUp';

function withoutUndefined(change: Change): TaskStatus {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

const OURS: readonly string[] = Object.values(FINALIZER);

/** Held for somebody outside: the object stays until its end was reported, even when it is deleted. */
export function isHeld({ finalizers = [] }: Pick<AnalysisTask['metadata'], 'finalizers'>): boolean {
  return finalizers.some((finalizer) => OURS.includes(finalizer));
}

function ending(seen: Observed): Change {
  return {
    finishedAt: seen.task.status?.finishedAt ?? seen.now.toISOString(),
    stopping: undefined,
    nextAttemptAt: undefined,
  };
}

/** Reasons that say the task itself was not accepted. */
const NOT_ACCEPTED = new Set(['ModelNotFound', 'ModelInvalid', 'ImageNotPinned', 'InvalidInput']);

/**
 * Conditions follow from the report alone: one table, so they can never contradict the phase.
 * Succeeded is the summary; Finished is True at any end, for `kubectl wait`.
 */
function conditionsOf(seen: Observed, report: Report): Condition[] {
  const observedGeneration = seen.task.metadata.generation;
  const before: readonly Condition[] = seen.task.status?.conditions ?? [];
  return [
    ...conditionRows(seen, report).reduce((list, [type, status, reason]) => {
      const message = type === 'Succeeded' ? truncate(report.message, 500) : '';
      return withCondition(list, { type, status, reason, message, observedGeneration }, seen.now);
    }, before),
  ];
}

type Row = readonly [type: string, status: Condition['status'], reason: string];

function conditionRows(seen: Observed, { phase, reason }: Report): Row[] {
  const started = phase === 'Running' || seen.task.status?.startedAt !== undefined;
  const finished = isTerminal(phase);
  return [
    accepted(seen, reason) ? ['Accepted', 'True', 'Accepted'] : ['Accepted', 'False', reason],
    started ? ['Started', 'True', 'ModelStarted'] : ['Started', 'False', 'NotStarted'],
    ['Succeeded', verdict(seen, phase), reason],
    finished ? ['Finished', 'True', phase] : ['Finished', 'False', 'Unfinished'],
    reason === 'Suspended' ? ['Suspended', 'True', 'Suspended'] : ['Suspended', 'False', 'NotSuspended'],
  ];
}

/** A partial result counts as the catalogue says; whoever reads the condition need not know the model. */
function verdict(seen: Observed, phase: Phase): Condition['status'] {
  const isEnough = phase === 'PartiallySucceeded' && failureRules(seen)?.onPartial !== 'Fail';
  if (phase === 'Succeeded' || isEnough) return 'True';
  return isTerminal(phase) ? 'False' : 'Unknown';
}

/** A task that already has an attempt was accepted once, whatever happened to its model since. */
function accepted(seen: Observed, reason: string): boolean {
  return !NOT_ACCEPTED.has(reason) || seen.task.status?.attempt !== undefined;
}
