import type { Progress } from '../../../api/task.ts';
import { secondsLeft } from '../../../jobs/estimate.ts';
import { type Pace, paceFor } from '../../../jobs/rates.ts';
import type { PodView } from '../../../jobs/views.ts';
import type { Observed } from '../observed.ts';

/** Percentage points that are worth a write by themselves; smaller changes wait for their turn. */
const STEP = 5;
/** An estimate that moved by less is not worth a write: this share of the whole run, and this many milliseconds. */
const MOVED_SHARE = 0.05;
const MOVED_MS = 60_000;
/** A longer estimate helps nobody, and dates have an end. */
const LONGEST_SECONDS = 10 * 365 * 86_400;

/**
 * The progress to show: a hint from the pod, never a verdict. Monotone within an attempt.
 * Returns the observed value when the change is too small to be worth a write.
 */
export function progressOf(
  seen: Observed,
  { metadata }: Pick<PodView, 'metadata'>,
  startedAt: string | undefined,
): Progress | undefined {
  const before = seen.task.status?.progress;
  const report = seen.progress;
  if (!report || report.taskUID !== seen.task.metadata.uid || report.podUID !== metadata.uid) return before;
  if (before && report.percent < before.percent) return before;
  const startedMs = Date.parse(startedAt ?? seen.now.toISOString());
  const next: Progress = {
    unitsDone: report.unitsDone,
    unitsTotal: report.unitsTotal,
    unitsFailed: report.unitsFailed,
    percent: report.percent,
    summary: summaryOf(report),
    ...estimate(seen, report, startedMs),
  };
  return isWorthWriting(seen, next, startedMs) ? next : before;
}

type Report = NonNullable<Observed['progress']>;

const summaryOf = ({ unitsDone, unitsTotal }: Pick<Report, 'unitsDone' | 'unitsTotal'>): string =>
  `${unitsDone}/${unitsTotal}`;

/** Milliseconds until what the pod told last may be shown; infinite when it is shown, or will never be. */
export function progressWaitMs({ progress, progressPauseMs }: Observed, shown: Progress | undefined): number {
  const isBehind = progress && shown && summaryOf(progress) !== shown.summary;
  return isBehind && progressPauseMs > 0 ? progressPauseMs : Number.POSITIVE_INFINITY;
}

function estimate(
  seen: Observed,
  report: Report,
  startedMs: number,
): Pick<Progress, 'estimatedCompletion' | 'estimatedCompletionP90'> {
  const left = leftOf(seen, report, Math.max(0, seen.now.getTime() - startedMs) / 1000);
  if (!left) return {};
  return {
    estimatedCompletion: after(seen.now, left.p50),
    estimatedCompletionP90: after(seen.now, left.p90),
  };
}

function leftOf(seen: Observed, report: Report, elapsedSeconds: number): Pace | undefined {
  const { work, estimatedSecondsLeft } = report;
  if (!work) {
    const left = estimatedSecondsLeft; // an agent of an earlier version
    return left === undefined ? undefined : { p50: left, p90: left };
  }
  // Units without effort tell nothing about time.
  if (work.left <= 0 && report.unitsDone + report.unitsFailed < report.unitsTotal) return undefined;
  return secondsLeft(work, elapsedSeconds, known(seen, work.effort));
}

/** What is known about the model that the attempt runs, which may be another one than its name stands for by now. */
function known({ model, task, hardware }: Observed, effort: Parameters<typeof paceFor>[1]): Pace | undefined {
  if (!model?.ok || hardware === undefined || model.model.metadata.uid !== task.status?.model?.uid)
    return undefined;
  const { spec, status } = model.model;
  return paceFor({ rates: status?.rates ?? [], guess: spec.rate }, effort, hardware);
}

/** In whole seconds. */
function after(now: Date, seconds: number): string {
  const ms = now.getTime() + Math.min(seconds, LONGEST_SECONDS) * 1000;
  return new Date(Math.round(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

function isWorthWriting(seen: Observed, next: Progress, startedMs: number): boolean {
  const before = seen.task.status?.progress;
  if (!before || next.percent - before.percent >= STEP || next.unitsFailed !== before.unitsFailed)
    return true;
  if (!before.estimatedCompletion && next.estimatedCompletion) return true;
  return seen.progressPauseMs <= 0 && (next.summary !== before.summary || hasMoved(before, next, startedMs));
}

function hasMoved(before: Progress, next: Progress, startedMs: number): boolean {
  if (!before.estimatedCompletion || !next.estimatedCompletion) return false;
  const end = Date.parse(next.estimatedCompletion);
  const moved = Math.abs(end - Date.parse(before.estimatedCompletion));
  return moved >= Math.max(MOVED_MS, (end - startedMs) * MOVED_SHARE);
}
