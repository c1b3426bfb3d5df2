import { z } from 'zod';
import type { AnalysisTask } from '../../src/api/objects.ts';
import type { TaskStatus } from '../../src/api/task.ts';
import { runName } from '../../src/elsi/run.ts';
import { idsOf, type Sink, wordsOf } from '../../test/faults/rig/sink.ts';
import { toldDifferences, wordsTold } from '../demo/elsi.ts';
import type { StandIn } from '../elsi-stand-in/server.ts';
import type { Behaviour, PlannedTask } from './plan.ts';

/* What must be true of every task when the storm is over, each breach in words; nothing when it is. */

/** Everything that is known at the end. */
export interface Aftermath {
  readonly people: readonly PlannedTask[];
  readonly tasks: readonly AnalysisTask[];
  /** Milliseconds since 1970 between which the disk was full. */
  readonly diskFull: readonly { readonly fromMs: number; readonly toMs: number }[];
}

/** The true end of each behaviour, of a task that nobody stops. */
const ENDS: Readonly<Record<Behaviour, string>> = {
  good: 'Succeeded/Published',
  slow: 'Succeeded/Published',
  partial: 'PartiallySucceeded/UnitsFailed',
  fail: 'Failed/ModelError',
  nothing: 'Failed/MissingOutput',
  truncated: 'Failed/MissingOutput',
  oom: 'Failed/OutOfMemory',
  late: 'Succeeded/Published',
  lost: 'Failed/InvalidInput',
  unknown: 'Failed/ModelNotFound',
};
/** What ELSI shows of an end. */
const shownOf = (end: string): 'COMPLETED' | 'FAILED' =>
  /^(Partially)?Succeeded/.test(end) ? 'COMPLETED' : 'FAILED';
const endOf = ({ phase, reason }: TaskStatus): string => `${phase ?? ''}/${reason ?? ''}`;

const runsOf = ({ way, name, hand, behaviour }: PlannedTask): string[] => {
  if (way === 'kubectl') return [name];
  if (behaviour === 'unknown') return [];
  return [runName(name, 1), ...(hand?.what === 'retry' ? [runName(name, 2)] : [])];
};

/** Names of the tasks that are not over yet, or should be gone and are not. */
export function openTasks(people: readonly PlannedTask[], tasks: readonly AnalysisTask[]): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  return people.flatMap((planned) => {
    const isDeleted = planned.hand?.what === 'delete';
    return runsOf(planned).filter((name) => {
      const task = byName.get(name);
      return isDeleted ? task !== undefined : task?.status?.settled !== true;
    });
  });
}

/** Each task is there once, and its end is the true one. */
export function trueEnds({ people, tasks, diskFull }: Aftermath): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  const expected = new Set(people.flatMap(runsOf));
  const strangers = tasks.filter(({ metadata }) => !expected.has(metadata.name));
  const problems = people.flatMap((planned) =>
    runsOf(planned).flatMap((name) => {
      const task = byName.get(name);
      if (planned.hand?.what === 'delete') return task ? [`${name} was deleted and is still there`] : [];
      if (!task?.status) return [`${name} was asked for and is not there`];
      const end = endOf(task.status);
      return allowedEnds(planned, task, diskFull).includes(end)
        ? []
        : [`${name} (${planned.behaviour}) is ${end}: ${task.status.message}`];
    }),
  );
  return [...problems, ...strangers.map(({ metadata }) => `nobody asked for ${metadata.name}`)];
}

function allowedEnds(
  { behaviour, hand }: PlannedTask,
  task: AnalysisTask,
  diskFull: Aftermath['diskFull'],
): string[] {
  return [
    ENDS[behaviour],
    ...(hand?.what === 'cancel' ? ['Cancelled/Cancelled'] : []),
    ...(diskFull.some((full) => livedIn(task, full)) ? ['Failed/Storage'] : []),
  ];
}

function livedIn(
  { metadata, status }: AnalysisTask,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): boolean {
  const end = Date.parse(status?.finishedAt ?? '');
  return Date.parse(metadata.creationTimestamp) < toMs && !(end < fromMs);
}

/** ELSI shows the end of each of its tasks, was told it once, and never anything that goes back. */
export function elsiAgrees(
  { people, tasks }: Aftermath,
  { tasks: shown, audit }: Pick<StandIn, 'tasks' | 'audit'>,
): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  return people
    .filter(({ way }) => way === 'elsi')
    .flatMap(({ name, behaviour, hand }) => {
      // Whether its own end is the true one is judged elsewhere; one that has no AnalysisTask has FAILED.
      const status = byName.get(runName(name, 1))?.status;
      const end = shownOf(status ? endOf(status) : ENDS[behaviour]);
      const is = shown.get(name)?.status_label;
      return [
        ...toldRuns(wordsTold(audit, name), end, hand?.what === 'retry'),
        ...(is === end ? [] : [`ELSI shows ${is}, not ${end}`]),
      ].map((problem) => `${name} (${behaviour}): ${problem}`);
    });
}

/** What is told of a second run is compared by itself; ELSI may have been told nothing but the same end again. */
function toldRuns(told: readonly string[], end: string, isRetried: boolean): string[] {
  if (!isRetried) return toldDifferences([end], told);
  const at = told.indexOf(end) + 1;
  const again = told.slice(at);
  return [
    ...toldDifferences([end], told.slice(0, at)),
    ...(again.length === 0 ? [] : toldDifferences([end], again)),
  ];
}

const subject = z.looseObject({ task: z.looseObject({ name: z.string() }) });
const nameOf = ({ event }: Sink['deliveries'][number]): string => subject.parse(event.data).task.name;

/** Each event of each task came under one id, the end last, and the end is the task's. */
export function callbacksAgree(
  { people, tasks }: Aftermath,
  { deliveries, refused }: Pick<Sink, 'deliveries' | 'refused'>,
): string[] {
  const byName = new Map(tasks.map((task) => [task.metadata.name, task]));
  const asked = people.filter(({ hasCallback }) => hasCallback);
  const problems = asked.flatMap(({ name }) => {
    const own = deliveries.filter((delivery) => nameOf(delivery) === name);
    const ids = idsOf(own);
    const words = wordsOf(ids.flatMap((id) => own.find(({ event }) => event.id === id) ?? []));
    // Of a deleted task that had not ended the end is "cancelled"; of one that had, its own.
    const phase = byName.get(name)?.status?.phase;
    const isRight =
      (phase === undefined ? words.length > 0 : words.at(-1) === phase.toLowerCase()) &&
      words.slice(0, -1).every((word) => word === 'started') &&
      words.length <= 2;
    return isRight
      ? []
      : [`the receiver took ${words.join(', ') || 'nothing'} of ${name}, which is ${phase}`];
  });
  return [...problems, ...refused.map((why) => `the receiver refused a delivery: ${why}`)];
}
