import type { AnalysisTask } from '../api/objects.ts';
import { isTerminal, type TaskStatus } from '../api/task.ts';
import type { ElsiStatus } from './wire.ts';

/** What ELSI should show for a run. A task that runs again after a failed attempt stays RUNNING: ELSI knows no way back. */
export function statusFor({ status = {} }: AnalysisTask): ElsiStatus {
  if (isTerminal(status.phase)) return succeeded(status) ? 'COMPLETED' : 'FAILED';
  return status.startedAt === undefined ? 'PENDING' : 'RUNNING';
}

/** The condition says how a partial result counts; the catalogue decides that per model (failure.onPartial). */
function succeeded({ conditions = [] }: TaskStatus): boolean {
  return conditions.some(({ type, status }) => type === 'Succeeded' && status === 'True');
}

/** Whole seconds that the run takes by the best knowledge of now; at its end the seconds that it took. */
export function estimatedSeconds({ status = {} }: AnalysisTask): number | undefined {
  const { startedAt, finishedAt, progress } = status;
  const end = finishedAt ?? progress?.estimatedCompletion;
  if (!startedAt || !end) return undefined;
  return Math.max(1, Math.round((Date.parse(end) - Date.parse(startedAt)) / 1000));
}
