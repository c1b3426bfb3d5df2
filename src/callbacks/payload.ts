import { API_VERSION, LABEL } from '../api/keys.ts';
import type { AnalysisTask } from '../api/objects.ts';
import type { OutboxEntry } from '../api/task.ts';
import { truncate } from '../lib/truncate.ts';

/** Longest sentence of the status that goes along. */
const MESSAGE_CHARACTERS = 300;

/**
 * A CloudEvents 1.0 event in structured JSON. Thin on purpose: what happened and where to look, never outputs. Pure: the
 * event of an end is the same whenever it is built, because a terminal status never changes.
 */
export function payloadOf(task: AnalysisTask, { id, type, sequence, time }: OutboxEntry): string {
  const { namespace, name, uid, labels = {} } = task.metadata;
  const isStart = sequence === 1;
  const { phase, reason, message = '', attempt, result, progress, finishedAt } = task.status ?? {};
  const end = {
    phase,
    reason,
    message: truncate(message, MESSAGE_CHARACTERS),
    attempt: attempt?.number,
    finishedAt,
    result,
    units: progress && { total: progress.unitsTotal, done: progress.unitsDone, failed: progress.unitsFailed },
  };
  return JSON.stringify({
    specversion: '1.0',
    id,
    type,
    source: `/apis/${API_VERSION}/namespaces/${namespace}/analysistasks/${name}`,
    subject: uid,
    time,
    sequence: String(sequence),
    datacontenttype: 'application/json',
    data: {
      task: { namespace, name, uid, ...(labels[LABEL.elsiTask] ? { elsiTask: labels[LABEL.elsiTask] } : {}) },
      model: task.spec.model,
      dataset: task.spec.dataset,
      ...(isStart ? { phase: 'Running', startedAt: task.status?.startedAt } : end),
    },
  });
}
