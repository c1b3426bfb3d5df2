import { ANNOTATION, FINALIZER } from '../api/keys.ts';
import type { AnalysisTask } from '../api/objects.ts';
import { isTerminal } from '../api/task.ts';
import type { Unsaved } from '../controller/client.ts';
import { desiredRun, runOf, type RunSettings, type TaskObject } from './run.ts';
import { estimatedSeconds, statusFor } from './verdict.ts';
import { type BadItem, type ElsiStatus, type ElsiTask, isFinal, rankOf } from './wire.ts';

/*
 * Level-triggered: what ELSI shows and what the runs say is compared afresh in every round, and only the difference is
 * acted on. Nothing is remembered between rounds but how often a task was missing from the list.
 *
 *   ELSI shows   run        what follows
 *   PENDING      none       create run 1
 *   PENDING      running    PUT RUNNING
 *   RUNNING      running    PUT the estimated duration, where ELSI shows one that is far off
 *   any          ended, not acknowledged     PUT the end; ELSI shows it: acknowledge (the finalizer goes)
 *   PENDING      failed and acknowledged     a researcher's retry: create the next run
 *   PENDING      completed and acknowledged  PUT COMPLETED again, run nothing
 */

/** What happens to a run whose task ELSI no longer wants as it is. */
export type Policy = 'Ignore' | 'Cancel';

export interface Policies {
  /** The task is missing from the list. */
  readonly dropped: Policy;
  /** ELSI names another model or dataset, or an end that was not reported from here. */
  readonly changed: Policy;
  /** ELSI shows RUNNING and there is no run: taken over from another daemon. */
  readonly orphanedRunning: 'Adopt' | 'Ignore' | 'Fail';
}

export interface Listed {
  readonly tasks: ReadonlyMap<string, ElsiTask>;
  readonly bad: readonly BadItem[];
}

export interface World {
  readonly listed: Listed;
  /** Every run that the cluster knows, in any order. */
  readonly runs: readonly AnalysisTask[];
  /** Uids that were missing from enough lists in a row to be believed. */
  readonly missing: ReadonlySet<string>;
  readonly settings: RunSettings;
  readonly policies: Policies;
}

export type Action =
  /** `after` is the run that this one repeats; undefined for the first. */
  | {
      readonly do: 'create';
      readonly uid: string;
      readonly object: Unsaved<TaskObject>;
      readonly after?: AnalysisTask;
    }
  | {
      readonly do: 'put';
      readonly uid: string;
      readonly status: ElsiStatus;
      readonly seconds: number | undefined;
      readonly run?: AnalysisTask;
    }
  /** The duration alone: it cannot take a status back. */
  | { readonly do: 'estimate'; readonly uid: string; readonly seconds: number }
  /** ELSI shows the end of the run (or something final that stays): nobody waits for it any more. */
  | {
      readonly do: 'acknowledge';
      readonly uid: string;
      readonly run: AnalysisTask;
      readonly shown: ElsiStatus;
    }
  /** The list says nothing of the task any more; only a look at it tells whether it still has to be told. */
  | { readonly do: 'look'; readonly uid: string; readonly run: AnalysisTask }
  | { readonly do: 'cancel'; readonly uid: string; readonly run: AnalysisTask; readonly why: string }
  | {
      readonly do: 'reject';
      readonly uid: string | undefined;
      readonly tell: boolean;
      readonly problem: string;
    };

/** What is to be done now. Pure: the same world gives the same actions. */
export function planRound(world: World): Action[] {
  const latest = latestRuns(world.runs);
  const listed = [...world.listed.tasks.values()].flatMap((task) =>
    planTask(task, latest.get(task.uid), world),
  );
  const dropped = [...latest]
    .filter(([uid]) => !world.listed.tasks.has(uid) && !world.listed.bad.some((bad) => bad.uid === uid))
    .flatMap(([uid, run]) => planDropped(uid, run, world));
  return [...world.listed.bad.map((bad) => rejected(bad, latest)), ...listed, ...dropped];
}

function latestRuns(runs: readonly AnalysisTask[]): Map<string, AnalysisTask> {
  const latest = new Map<string, AnalysisTask>();
  const numbers = new Map<string, number>();
  for (const task of runs) {
    const id = runOf(task);
    if (!id || id.run < (numbers.get(id.uid) ?? 0)) continue;
    numbers.set(id.uid, id.run);
    latest.set(id.uid, task);
  }
  return latest;
}

/** FAILED is told only of a task that waits and that nothing here works on: whatever runs speaks for itself. */
function rejected({ uid, status, problem }: BadItem, latest: ReadonlyMap<string, AnalysisTask>): Action {
  const tell = uid !== undefined && status === 'PENDING' && !latest.has(uid);
  return { do: 'reject', uid, tell, problem };
}

function planTask(task: ElsiTask, run: AnalysisTask | undefined, world: World): Action[] {
  if (!run) return begin(task, world);
  const want = statusFor(run);
  if (!isFinal(want)) return follow(task, run, want, world.policies);
  if (task.status === want || isFinal(task.status)) return acknowledged(run) ? [] : [acknowledge(task, run)];
  if (acknowledged(run) && want === 'FAILED' && task.status === 'PENDING')
    return repeat(task, run, world.settings);
  return [put(task, run, want)];
}

export function acknowledged({ metadata }: AnalysisTask): boolean {
  return !(metadata.finalizers ?? []).includes(FINALIZER.elsi);
}

const acknowledge = ({ uid, status }: ElsiTask, run: AnalysisTask): Action => ({
  do: 'acknowledge',
  uid,
  run,
  shown: status,
});

const put = ({ uid }: ElsiTask, run: AnalysisTask, status: ElsiStatus): Action => ({
  do: 'put',
  uid,
  run,
  status,
  seconds: estimatedSeconds(run),
});

function begin(task: ElsiTask, { settings, policies }: World): Action[] {
  const { uid, status } = task;
  if (isFinal(status)) return [];
  if (status === 'RUNNING' && policies.orphanedRunning === 'Ignore') return [];
  if (status === 'RUNNING' && policies.orphanedRunning === 'Fail')
    return [{ do: 'put', uid, status: 'FAILED', seconds: undefined }];
  const wanted = desiredRun(task, 1, settings);
  return wanted.ok
    ? [{ do: 'create', uid, object: wanted.object }]
    : [{ do: 'reject', uid, tell: true, problem: wanted.problem }];
}

function repeat(task: ElsiTask, run: AnalysisTask, settings: RunSettings): Action[] {
  if (run.metadata.deletionTimestamp) return []; // its successor may need the name's place in the list of runs
  const wanted = desiredRun(task, (runOf(run)?.run ?? 1) + 1, settings);
  return wanted.ok
    ? [{ do: 'create', uid: task.uid, object: wanted.object, after: run }]
    : [{ do: 'reject', uid: task.uid, tell: true, problem: wanted.problem }];
}

function follow(task: ElsiTask, run: AnalysisTask, want: ElsiStatus, policies: Policies): Action[] {
  const change = changeOf(task, run);
  if (change && policies.changed === 'Cancel' && run.spec.desired !== 'Cancel')
    return [{ do: 'cancel', uid: task.uid, run, why: change }];
  if (rankOf(want) > rankOf(task.status)) return [put(task, run, want)];
  return want === 'RUNNING' ? estimateFor(task, run) : [];
}

/** An estimate follows the first seconds of a run, and gets better: small corrections are not worth a call. */
const FAR_OFF_SHARE = 0.2;
const FAR_OFF_SECONDS = 60;

function estimateFor({ uid, estimatedSeconds: shown }: ElsiTask, run: AnalysisTask): Action[] {
  const seconds = estimatedSeconds(run);
  if (seconds === undefined || shown === undefined) return [];
  const isFarOff = shown <= 0 || Math.abs(seconds - shown) > Math.max(FAR_OFF_SECONDS, shown * FAR_OFF_SHARE);
  return isFarOff ? [{ do: 'estimate', uid, seconds }] : [];
}

/** What ELSI wants otherwise than when the run began. */
function changeOf(task: ElsiTask, run: AnalysisTask): string | undefined {
  if (isFinal(task.status)) return `ELSI shows ${task.status}`;
  const { [ANNOTATION.elsiDataset]: dataset, [ANNOTATION.elsiModel]: model } = run.metadata.annotations ?? {};
  if (dataset !== undefined && dataset !== task.datasetLabel) return 'ELSI names another dataset';
  return model !== undefined && model !== task.model ? 'ELSI names another model' : undefined;
}

function planDropped(uid: string, run: AnalysisTask, { missing, policies }: World): Action[] {
  if (!missing.has(uid)) return [];
  if (isTerminal(run.status?.phase)) return acknowledged(run) ? [] : [{ do: 'look', uid, run }];
  if (policies.dropped !== 'Cancel' || run.spec.desired === 'Cancel') return [];
  return [{ do: 'cancel', uid, run, why: 'ELSI no longer lists the task' }];
}
