import type { Progress } from '../../api/task.ts';
import type { Observed } from './observed.ts';

/** Percentage points that are worth a write by themselves; smaller changes wait for their turn. */
const STEP = 5;

/**
 * The progress to show: a hint from the pod, never a verdict. Monotone within an attempt.
 * Returns the observed value when the change is too small to be worth a write.
 */
export function progressOf(seen: Observed): Progress | undefined {
  const before = seen.task.status?.progress;
  const report = seen.progress;
  if (!report || report.taskUID !== seen.task.metadata.uid) return before;
  if (before && report.percent < before.percent) return before;
  const next: Progress = {
    unitsDone: report.unitsDone,
    unitsTotal: report.unitsTotal,
    unitsFailed: report.unitsFailed,
    percent: report.percent,
    summary: `${report.unitsDone}/${report.unitsTotal}`,
    ...estimate(seen, report.estimatedSecondsLeft),
  };
  return isWorthWriting(before, next, seen.progressDue) ? next : before;
}

function estimate(seen: Observed, secondsLeft: number | undefined): { estimatedCompletion?: string } {
  if (secondsLeft === undefined) return {};
  return { estimatedCompletion: new Date(seen.now.getTime() + secondsLeft * 1000).toISOString() };
}

function isWorthWriting(before: Progress | undefined, next: Progress, due: boolean): boolean {
  if (!before || next.percent - before.percent >= STEP || next.unitsFailed !== before.unitsFailed)
    return true;
  return due && next.summary !== before.summary;
}
