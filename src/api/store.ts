import { z } from 'zod';

/**
 * What the controller and the store agent say to each other, as JSON over HTTP with a bearer token. Every answer is
 * bounded: the agent cuts lists, the client refuses what is longer.
 */
export const STORE_PATHS = {
  /** Body: the request that the task's pod would get (request.ts). */
  survey: '/v1/survey',
  /** Body: `{}`. */
  staging: '/v1/staging',
  sweep: '/v1/sweep',
} as const;
export type StoreQuestion = keyof typeof STORE_PATHS;

/** Longest answer of the agent in bytes. */
export const STORE_ANSWER_BYTES = 1048576;
export const STORE_MAX_ENTRIES = 1000;

/** Longest path of a dataset, as in a task's `spec.dataset.path`. */
export const STORE_MAX_PATH = 512;
/** Longest body of a question: a survey is an annotation's size, and a sweep names its bounded number of directories. */
export const STORE_QUESTION_BYTES = 1048576;

const count = z.int().min(0);

/**
 * What a pod would find if it started now.
 *   Ready                it would have work
 *   Published            the result of this very task is there already
 *   RequirementsMissing  an analysis that must run before has not
 *   Refused              it would fail, and waiting does not help; `category` says how
 */
export const surveyAnswer = z.object({
  v: z.literal(1),
  verdict: z.enum(['Ready', 'Published', 'RequirementsMissing', 'Refused']),
  category: z.enum(['InvalidInput', 'OutputConflict']).optional().describe('With Refused only.'),
  message: z.string().max(900),
  effort: z
    .object({
      units: count,
      unitsRefused: count,
      inputs: count,
      inputBytes: count,
      audioSeconds: z.number().min(0),
    })
    .optional()
    .describe('With Ready only.'),
  space: z
    .object({ freeBytes: count, totalBytes: count })
    .optional()
    .describe('Of the volume, as far as its file system tells.'),
});
export type SurveyAnswer = z.infer<typeof surveyAnswer>;

const place = z.object({
  /** Relative to the root of the store. */
  dataset: z.string().min(1).max(STORE_MAX_PATH),
  /** UID of the task, or the name of what an interrupted sweep left. */
  name: z.string().min(1).max(255),
});

/** A directory below `<dataset>/outputs/.staging`. */
const stagingEntry = place.extend({
  idleSeconds: z.number().describe('Since anything in it was last written.'),
  swept: z.boolean().describe('Left by an interrupted sweep; it belongs to nobody.'),
});
export type StagingEntry = z.infer<typeof stagingEntry>;

export const stagingAnswer = z.object({
  v: z.literal(1),
  entries: z.array(stagingEntry).max(STORE_MAX_ENTRIES),
  complete: z.boolean().describe('False when time or room ran out: the next question finds the rest.'),
});
export type StagingAnswer = z.infer<typeof stagingAnswer>;

/** The directories to remove, one by one: an answer that is cut short on its way removes less, never more. */
export const sweepRequest = z.object({
  remove: z.array(place.extend({ minIdleSeconds: z.number().min(0) })).max(STORE_MAX_ENTRIES),
});
export type SweepRequest = z.infer<typeof sweepRequest>;

export const sweepAnswer = z.object({
  v: z.literal(1),
  removed: count,
  kept: z.array(place.extend({ reason: z.string().max(300) })).max(STORE_MAX_ENTRIES),
});
export type SweepAnswer = z.infer<typeof sweepAnswer>;
