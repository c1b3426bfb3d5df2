import { z } from 'zod';
import { type AnalysisModel, analysisModel, type AnalysisTask, analysisTask } from './objects.ts';
import { taskStatus } from './task.ts';

/** A model as the informer holds it: one malformed object must not take others with it. */
export type ModelSeen =
  | { readonly ok: true; readonly model: AnalysisModel }
  | { readonly ok: false; readonly name: string; readonly uid: string; readonly problem: string };

const rawTask = z.looseObject({ status: z.looseObject({}).optional() });

/**
 * Reads a task as the API server sent it. Fields of the status that a newer version wrote are kept, at any depth,
 * so that a status write of this version does not lose them. Throws on a task that does not parse.
 */
export function parseTask(raw: unknown): AnalysisTask {
  const task = analysisTask.parse(raw);
  const status = rawTask.parse(raw).status;
  return status ? { ...task, status: withUnknown(status, taskStatus.parse(status)) } : task;
}

/** `parsed` with all that parsing left out; lists keep their length and order when they are parsed. */
function withUnknown<T>(raw: unknown, parsed: T): T;
function withUnknown(raw: unknown, parsed: unknown): unknown {
  if (Array.isArray(raw) && Array.isArray(parsed))
    return parsed.map((item, index) => withUnknown<unknown>(raw[index], item));
  if (!isRecord(raw) || !isRecord(parsed)) return parsed;
  const known = Object.entries(parsed).map(([key, value]) => [key, withUnknown(raw[key], value)]);
  return { ...raw, ...Object.fromEntries(known) };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const identity = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string(),
  resourceVersion: z.string(),
  deletionTimestamp: z.string().optional(),
});

/** A model in the informer's cache. */
export interface ModelEntry {
  readonly metadata: z.infer<typeof identity>;
  readonly seen: ModelSeen;
}

/** Reads a model. A malformed one is still known by name, so that only its own tasks are affected. */
export function parseModel(raw: unknown): ModelEntry {
  const { metadata } = z.object({ metadata: identity }).parse(raw);
  const parsed = analysisModel.safeParse(raw);
  if (parsed.success) return { metadata, seen: { ok: true, model: parsed.data } };
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  const problem = problems.slice(0, 3).join('; ');
  return { metadata, seen: { ok: false, name: metadata.name, uid: metadata.uid, problem } };
}
