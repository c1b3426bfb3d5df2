import type { ProgressReport } from '../../../api/request.ts';
import type { Clock } from '../../../controller/clock.ts';

/**
 * Small changes of progress are written this seldom: the more tasks run, the more seldom for each. So ten writes a second
 * are never exceeded, and up to 50 tasks show what happened 5 seconds ago.
 */
const QUIET_PER_TASK_MS = 100;
const QUIET_MS = 60_000;

/** The latest progress of each running task, as its pod told it. Memory only: a restart asks the pods again. */
export interface ProgressBook {
  /** As it would be told now: what a pod told some time ago has aged. */
  report(taskUid: string): ProgressReport | undefined;
  /** Milliseconds until a small change may be written. */
  pauseMs(taskUid: string): number;
  /** Returns true when the report differs from the one before. */
  note(report: ProgressReport): boolean;
  written(taskUid: string): void;
  forget(taskUid: string): void;
}

export function createProgressBook(clock: Pick<Clock, 'monotonicMs'>): ProgressBook {
  const reports = new Map<string, Told>();
  const writtenAt = new Map<string, number>();
  return {
    report(uid) {
      const told = reports.get(uid);
      return told && aged(told, clock.monotonicMs());
    },
    pauseMs(uid) {
      const quietMs = Math.min(QUIET_MS, reports.size * QUIET_PER_TASK_MS);
      return Math.max(0, (writtenAt.get(uid) ?? Number.NEGATIVE_INFINITY) + quietMs - clock.monotonicMs());
    },
    note(report) {
      const before = reports.get(report.taskUID)?.report;
      reports.set(report.taskUID, { report, atMs: clock.monotonicMs() });
      return (
        before?.percent !== report.percent ||
        before.unitsDone !== report.unitsDone ||
        before.unitsFailed !== report.unitsFailed
      );
    },
    written: (uid) => void writtenAt.set(uid, clock.monotonicMs()),
    forget(uid) {
      reports.delete(uid);
      writtenAt.delete(uid);
    },
  };
}

interface Told {
  readonly report: ProgressReport;
  readonly atMs: number;
}

function aged({ report, atMs }: Told, nowMs: number): ProgressReport {
  const { work } = report;
  if (!work) return report;
  return { ...report, work: { ...work, sinceSeconds: work.sinceSeconds + (nowMs - atMs) / 1000 } };
}
