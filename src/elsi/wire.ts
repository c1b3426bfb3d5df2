import { z } from 'zod';
import { truncate } from '../lib/truncate.ts';

/** The words of ELSI that this program knows. Statuses are rows of a table there, so others may appear. */
export const ELSI_STATUSES = ['PENDING', 'RUNNING', 'COMPLETED', 'FAILED'] as const;
export type ElsiStatus = (typeof ELSI_STATUSES)[number];

export function isFinal(status: ElsiStatus): boolean {
  return status === 'COMPLETED' || status === 'FAILED';
}

/** How far a task is; a status is only ever replaced by one of a higher rank. */
export function rankOf(status: ElsiStatus): number {
  return { PENDING: 0, RUNNING: 1, COMPLETED: 2, FAILED: 2 }[status];
}

/** One task as ELSI lists it. */
export interface ElsiTask {
  /** Lower case. */
  readonly uid: string;
  readonly model: string;
  readonly status: ElsiStatus;
  readonly datasetLabel: string;
  readonly user: string | undefined;
  /** The duration that ELSI shows; absent where it lists none. */
  readonly estimatedSeconds?: number;
}

/** An item that cannot be worked on. With a uid it can be answered, without one it can only be reported. */
export interface BadItem {
  readonly uid: string | undefined;
  /** Undefined when the status itself is not understood: then nothing is answered either. */
  readonly status: ElsiStatus | undefined;
  /** What is wrong: the field, the value, the fix. */
  readonly problem: string;
}

export type Parsed =
  | { readonly ok: true; readonly task: ElsiTask }
  | { readonly ok: false; readonly bad: BadItem };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Fields that this program reads; whatever else an ELSI sends is left out. */
const item = z.object({
  task_uid: z.string().max(128),
  model_name: z.string().max(128),
  status_label: z.string().max(64),
  dataset_uid_label: z.string().max(512),
  user_uid: z.string().max(128).nullish(),
  estimated_duration: z.number().nullish().catch(undefined),
});
const identity = z.object({ task_uid: z.unknown(), status_label: z.unknown() }).partial();

/** Reads one item by itself: a bad one never takes others with it. */
export function parseItem(raw: unknown): Parsed {
  const { data, error } = item.safeParse(raw);
  if (!data) return { ok: false, bad: unreadable(raw, error) };
  const uid = uuidOf(data.task_uid);
  if (!uid) {
    const problem = `task_uid is ${shown(data.task_uid)} but must be a UUID`;
    return { ok: false, bad: { uid: undefined, status: undefined, problem } };
  }
  const status = statusOf(data.status_label);
  if (!status) {
    const problem = `status_label is ${shown(data.status_label)}, which this version does not know: ${ELSI_STATUSES.join(', ')}`;
    return { ok: false, bad: { uid, status: undefined, problem } };
  }
  const { model_name: model, dataset_uid_label: datasetLabel, user_uid: user } = data;
  const seconds = data.estimated_duration ?? undefined;
  const estimate = seconds === undefined ? {} : { estimatedSeconds: seconds };
  return { ok: true, task: { uid, model, status, datasetLabel, user: user ?? undefined, ...estimate } };
}

function unreadable(raw: unknown, error: z.ZodError): BadItem {
  const { data } = identity.safeParse(raw);
  const problem = error.issues
    .map(({ path, message }) => `${path.join('.') || 'the item'}: ${message}`)
    .join('; ');
  return {
    uid: uuidOf(data?.task_uid),
    status: statusOf(data?.status_label),
    problem: truncate(problem, 300),
  };
}

function uuidOf(value: unknown): string | undefined {
  const lower = typeof value === 'string' ? value.toLowerCase() : '';
  return UUID.test(lower) ? lower : undefined;
}

function statusOf(value: unknown): ElsiStatus | undefined {
  const upper = typeof value === 'string' ? value.trim().toUpperCase() : '';
  return ELSI_STATUSES.find((status) => status === upper);
}

export const shown = (text: string): string => JSON.stringify(truncate(text, 80));

/** The UUID at the end of a dataset's label (`name_uuid`, `name-uuid` or the bare UUID), or the label itself. */
export function datasetUuid(label: string): string {
  const last = label.slice(-36);
  return uuidOf(last) ? last : label;
}
