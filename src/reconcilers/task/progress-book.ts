import type { ProgressReport } from '../../api/request.ts';
import type { Clock } from '../../controller/clock.ts';

/** Small changes of progress are written at most this often per task. */
const QUIET_MS = 60_000;

/** The latest progress of each running task, as its pod told it. Memory only: a restart asks the pods again. */
export interface ProgressBook {
  report(taskUid: string): ProgressReport | undefined;
  isDue(taskUid: string): boolean;
  /** Returns true when the report differs from the one before. */
  note(report: ProgressReport): boolean;
  written(taskUid: string): void;
  forget(taskUid: string): void;
}

export function createProgressBook(clock: Pick<Clock, 'monotonicMs'>): ProgressBook {
  const reports = new Map<string, ProgressReport>();
  const writtenAt = new Map<string, number>();
  return {
    report: (uid) => reports.get(uid),
    isDue: (uid) => clock.monotonicMs() - (writtenAt.get(uid) ?? -QUIET_MS) >= QUIET_MS,
    note(report) {
      const before = reports.get(report.taskUID);
      reports.set(report.taskUID, report);
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
