import { isTerminal, type TaskStatus } from '../../../src/api/task.ts';
import type { Created, History, TaskWrite } from './history.ts';
import type { ModelRun } from './node.ts';

/** Everything that is wrong with a history, in words; empty for a correct operator. */
export function violationsOf(history: History, ledger: readonly ModelRun[]): string[] {
  return [
    ...[...groupBy(history.taskWrites, ({ uid }) => uid).values()].flatMap((writes) => [
      ...neverBack(writes),
      ...oneIdPerEvent(writes),
    ]),
    ...claimedFirst(history),
    ...oneJobPerAttempt(history),
    ...onePodPerJob(history),
    ...onlyOurs(history),
    ...suspendIsKueues(history),
    ...oneContainerAtOnce(ledger),
  ];
}

/**
 * Where a task stands: the attempt, and how far that attempt is. An attempt that is over (another one follows) comes
 * after one that runs.
 */
function rankOf({ phase, attempt, nextAttemptAt }: TaskStatus): readonly [number, number] {
  const far = isTerminal(phase) ? 3 : nextAttemptAt !== undefined ? 2 : phase === 'Running' ? 1 : 0;
  return [attempt?.number ?? 0, far];
}

/** O7: (attempt, phase rank) never falls, a terminal phase never changes, a recorded Job UID stays. */
function neverBack(writes: readonly TaskWrite[]): string[] {
  return writes.slice(1).flatMap((write, index) => {
    const before = writes[index];
    if (!before) return [];
    const [oldAttempt, oldFar] = rankOf(before.status);
    const [attempt, far] = rankOf(write.status);
    const step = `${write.name}: ${shown(before.status)} -> ${shown(write.status)}`;
    const fell = attempt < oldAttempt || (attempt === oldAttempt && far < oldFar);
    const flipped = isTerminal(before.status.phase) && write.status.phase !== before.status.phase;
    const oldUid = before.status.attempt?.jobUID;
    const lostUid = attempt === oldAttempt && oldUid !== undefined && write.status.attempt?.jobUID !== oldUid;
    return [
      ...(fell ? [`O7 the status went back: ${step}`] : []),
      ...(flipped ? [`O7 a terminal phase changed: ${step}`] : []),
      ...(lostUid ? [`O7 the Job's UID changed within an attempt: ${step}`] : []),
    ];
  });
}

function shown({ phase, reason, attempt }: TaskStatus): string {
  return `${phase ?? 'no phase'}/${reason ?? ''} (attempt ${attempt?.number ?? 0})`;
}

/** O2: at most one Job is ever created per task and attempt. */
function oneJobPerAttempt({ jobs }: History): string[] {
  return [...groupBy(jobs, ({ owner, attempt }) => `${owner}/${attempt}`).values()]
    .filter((created) => created.length > 1)
    .map(
      (created) => `O2 ${created.length} Jobs for one attempt: ${created.map(({ name }) => name).join(', ')}`,
    );
}

/**
 * I2: an operator creates a Job only after a status that names it, with its attempt, was accepted. Pods are made by the
 * Job controller, so none of ours exists without a claim either. One etcd counts the versions of all objects.
 */
function claimedFirst({ jobs, taskWrites }: History): string[] {
  const writes = groupBy(taskWrites, ({ uid }) => uid);
  const isClaimed = ({ owner, name, attempt, version }: Created): boolean =>
    (writes.get(owner) ?? []).some(
      ({ version: at, status }) =>
        at < version && status.attempt?.number === attempt && status.attempt.jobName === name,
    );
  return jobs
    .filter((job) => job.byOperator && !isClaimed(job))
    .map(({ name, attempt }) => `I2 ${name} was created, but no status claimed it as attempt ${attempt}`);
}

/** I7: to one endpoint an event of a task has one id, however often it is written; and what has settled owes none. */
function oneIdPerEvent(writes: readonly TaskWrite[]): string[] {
  const entries = writes.flatMap(({ name, status: { outbox = [] } }) =>
    outbox.map(({ id, type, endpoint }) => ({ id, event: `${type} of ${name} to ${endpoint}` })),
  );
  const twice = [...groupBy(entries, ({ event }) => event)].flatMap(([event, told]) => {
    const ids = new Set(told.map(({ id }) => id));
    return ids.size > 1 ? [`I7 ${event} has ${ids.size} ids`] : [];
  });
  const owing = writes
    .filter(({ status: { settled = false, outbox = [] } }) => settled && outbox.length > 0)
    .map(({ name }) => `I7 ${name} was settled while events were still to be delivered`);
  return [...twice, ...owing];
}

/** O2: at most one pod is ever created per Job; a queue may have one for each time that it lets the Job run. */
function onePodPerJob({ pods, releases }: History): string[] {
  return [...groupBy(pods, ({ owner }) => owner)]
    .filter(([job, created]) => created.length > Math.max(1, releases.get(job) ?? 0))
    .map(
      ([, created]) => `O2 ${created.length} pods for one Job: ${created.map(({ name }) => name).join(', ')}`,
    );
}

/** A Job's `spec.suspend` belongs to the queue: the operator neither sets nor clears it. */
function suspendIsKueues({ suspensions }: History): string[] {
  return suspensions.map((request) => `I-suspend the operator wrote spec.suspend of a Job: ${request}`);
}

/** I12: what the operator deletes it names by UID. */
function onlyOurs({ deletions }: History): string[] {
  return deletions
    .filter(({ uid }) => uid === undefined)
    .map(({ resource, name }) => `I12 ${resource}/${name} was deleted without a UID`);
}

/** I3: two model containers of one task never run at the same time. */
function oneContainerAtOnce(ledger: readonly ModelRun[]): string[] {
  return [...groupBy(ledger, ({ taskUid }) => taskUid).values()].flatMap((runs) =>
    runs.slice(1).flatMap((run, index) => {
      const before = runs[index];
      const overlaps = before && (before.endedMs === undefined || before.endedMs > run.startedMs);
      return overlaps
        ? [`I3 two model containers of ${run.task} ran at once: ${before.pod} and ${run.pod}`]
        : [];
    }),
  );
}

/** Every label that a metric of any program here may have; each takes values of a small closed set. */
const LABELS = new Set(
  'action code controller endpoint host kind le method name quantile reason resource result source type why'.split(
    ' ',
  ),
);
const MOST_SERIES = 2000;

/** I17: what in a page of metrics grows with the number of tasks, or names one of these objects. */
export function foreignLabels(page: string, objects: readonly string[]): string[] {
  const series = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const pairs = series.flatMap((line) => [...line.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)]);
  const strange = new Set(pairs.map(([, label = '']) => label).filter((label) => !LABELS.has(label)));
  const values = new Set(pairs.map(([, , value = '']) => value));
  return [
    ...[...strange].map((label) => `I17 a metric has the label "${label}"`),
    ...objects
      .filter((object) => [...values].some((value) => value.includes(object)))
      .map((object) => `I17 a label of a metric names ${object}`),
    ...(series.length > MOST_SERIES ? [`I17 there are ${series.length} series`] : []),
  ];
}

export function groupBy<T>(list: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of list) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

/** O6: whether a line of an operator's log tells of a fault in the program. */
export const isCrash = (line: string): boolean =>
  /unhandled|TypeError|ReferenceError|RangeError|\bERR_/i.test(line);
