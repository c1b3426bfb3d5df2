import { z } from 'zod';
import { condition, dnsLabel, listMap, rules, setList } from './schema.ts';

/**
 * A path below the store: segments separated by single slashes, blanks and any script allowed.
 * No segment starts with `.` or `-`, so `..`, hidden directories and things that look like options are out.
 */
const SEGMENTS = /^[^/.\p{Cc}-][^/\p{Cc}]*(\/[^/.\p{Cc}-][^/\p{Cc}]*)*$/u;

/** The API server counts characters; a segment longer than 255 bytes is refused by the file system and reported then. */
const storePath = (what: string): z.ZodType<string> =>
  z
    .string()
    .min(1)
    .max(512)
    .meta(
      rules({
        // \p{Cc} is every control character; RE2 has no look-ahead, so each segment is matched by itself.
        rule: `self.matches('^[^/.\\\\p{Cc}-][^/\\\\p{Cc}]*(/[^/.\\\\p{Cc}-][^/\\\\p{Cc}]*)*$')`,
        message: `${what} must be a relative path below the store, such as "lab1/corpus": no leading or trailing slash, no empty segment, no segment that starts with "." or "-", no control characters`,
      }),
    )
    .refine((path) => SEGMENTS.test(path), {
      error: `${what} must be a relative path without segments that start with "." or "-"`,
    });

const parameterName = /^[A-Za-z][A-Za-z0-9_]*$/;

export const PRIORITIES = ['Low', 'Normal', 'High'] as const;
export const DESIRED = ['Run', 'Suspend', 'Cancel'] as const;

const dataset = z
  .object({
    path: storePath('dataset.path').describe('Directory of the dataset, relative to the root of the store.'),
    directory: storePath('dataset.directory')
      .optional()
      .describe("Only inputs below this directory, relative to the model's inputs.root."),
  })
  .describe('What to analyse.');

const frozen = [
  ...['model', 'dataset', 'resume', 'priority'].map((field) => ({
    rule: `self.${field} == oldSelf.${field}`,
    message: `${field} is immutable: delete the task and create a new one`,
    fieldPath: `.${field}`,
  })),
  ...['outputName', 'parameters', 'queue', 'callbacks', 'retryOf'].map((field) => ({
    rule: `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`,
    message: `${field} is immutable: delete the task and create a new one`,
  })),
];

export const taskSpec = z
  .object({
    model: dnsLabel().describe('Name of an AnalysisModel of the catalogue (kubectl get analysismodels).'),
    dataset,
    outputName: z
      .string()
      .max(128)
      .regex(/^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/)
      .optional()
      .describe(
        "Directory below the dataset's outputs/ in which the results appear; the task's name by default.",
      ),
    parameters: z
      .record(z.string().max(63), z.string().max(1024))
      .optional()
      .describe('Values of the parameters that the model declares. Quote numbers: threshold: "0.5".')
      .meta({
        maxProperties: 32,
        ...rules({
          rule: `self.all(k, k.size() <= 63 && k.matches('${parameterName.source}'))`,
          message:
            'a parameter name consists of at most 63 letters, digits and underscores and starts with a letter',
        }),
      }),
    resume: z
      .boolean()
      .default(true)
      .describe('Whether a further attempt keeps the units that an earlier one finished.'),
    queue: dnsLabel().optional().describe('Kueue LocalQueue that admits the task.'),
    priority: z.enum(PRIORITIES).default('Normal').describe('Scheduling priority.'),
    desired: z
      .enum(DESIRED)
      .default('Run')
      .describe('Run, Suspend (stops the pod, keeps finished units) or Cancel (final).'),
    callbacks: z
      .array(dnsLabel())
      .max(8)
      .optional()
      .describe('Names of callback endpoints that the administrator configured.')
      .meta(setList),
    retryOf: z
      .string()
      .min(1)
      .max(63)
      .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/)
      .optional()
      .describe(
        'An earlier task of the same namespace, ended, with the same model, dataset.path and parameters: units that it finished are copied and checked, only the rest runs.',
      ),
    ttlSecondsAfterSettled: z
      .int()
      .min(0)
      .max(31536000)
      .optional()
      .describe('Delete the task this many seconds after it settled. Published outputs stay.'),
  })
  .describe(
    'A request: run this model over that dataset. Immutable but for desired and ttlSecondsAfterSettled.',
  )
  .meta(
    rules(...frozen, {
      rule: "oldSelf.desired != 'Cancel' || self.desired == 'Cancel'",
      message: 'a cancelled task cannot be started again: create a new one',
      fieldPath: '.desired',
    }),
  );

export const PHASES = [
  'Pending',
  'Running',
  'Succeeded',
  'PartiallySucceeded',
  'Failed',
  'Cancelled',
] as const;
export type Phase = (typeof PHASES)[number];
export const TERMINAL_PHASES = [
  'Succeeded',
  'PartiallySucceeded',
  'Failed',
  'Cancelled',
] as const satisfies Phase[];

const reason = z
  .string()
  .max(64)
  .regex(/^[A-Z][A-Za-z0-9]*$/);

const attempt = z
  .object({
    number: z.int().min(1).describe('Counts every attempt, also the free ones.'),
    jobName: z.string().max(63).describe('Name of the Job that carries out this attempt.'),
    jobUID: z.string().max(64).optional().describe('UID of that Job, once it was seen.'),
    claimedBy: z.string().max(128).describe('Random identity of the process that claimed this attempt.'),
    claimedAt: z.iso.datetime().describe('When the attempt was claimed.'),
    startedAt: z.iso.datetime().optional().describe('When the model container was first seen running.'),
    podName: z.string().max(253).optional().describe('Pod of the attempt, for kubectl logs.'),
    node: z.string().max(253).optional().describe('Node on which it runs or ran.'),
  })
  .describe('The current or last attempt.');

const retried = z
  .object({
    uid: z.string().max(64).describe('UID of the task that spec.retryOf names.'),
    identity: z.string().max(128).describe('Under what it published: its UID, or elsi:<task_uid>.'),
    outputName: z
      .string()
      .max(128)
      .optional()
      .describe("Directory below the dataset's outputs/ with its result; absent when it published none."),
    manifestSha256: z.string().max(64).optional().describe('SHA-256 of the manifest.json of that result.'),
  })
  .describe('The task that is retried.');

const stopping = z
  .object({
    category: reason.describe('The verdict, in one word.'),
    message: z.string().max(512).describe('What was found.'),
    since: z.iso.datetime().describe('When the stop began.'),
  })
  .describe('A stop under way.');

const failureRecord = z
  .object({
    attempt: z.int().min(1).describe('Number of the attempt.'),
    category: reason.describe('Why it failed, in one word.'),
    message: z.string().max(512).describe('What was found, with the last lines of the model.'),
    at: z.iso.datetime().describe('When the failure was seen.'),
  })
  .describe('One failed attempt.');

const progress = z
  .object({
    unitsDone: z.int().min(0).describe('Units with all their outputs.'),
    unitsTotal: z.int().min(0).describe('Units of the whole task: files, directories or the dataset.'),
    unitsFailed: z.int().min(0).describe('Units that failed.'),
    percent: z.int().min(0).max(100).describe('Share of units that are done or failed.'),
    summary: z.string().max(64).describe('For people: "3/6".'),
    estimatedCompletion: z.iso
      .datetime()
      .optional()
      .describe('When the attempt should be done: as likely before as after it.'),
    estimatedCompletionP90: z.iso
      .datetime()
      .optional()
      .describe('When nine of ten such attempts would be done.'),
  })
  .describe('How far the current attempt is. A hint, never a verdict.');

const result = z
  .object({
    path: z.string().max(1024).describe('Where the outputs are, relative to the root of the store.'),
    manifestSha256: z.string().max(64).optional().describe('SHA-256 of manifest.json in that directory.'),
    files: z.int().min(0).optional().describe('Number of published files.'),
    bytes: z.int().min(0).optional().describe('Size of the published files in bytes.'),
  })
  .describe('What was published.');

const outboxEntry = z
  .object({
    id: z.string().max(64).describe('Identifier of the event; receivers drop what they have seen.'),
    type: z.string().max(64).describe('Type of the event.'),
    sequence: z.int().min(0).describe('Order of the events of one task.'),
    endpoint: z.string().max(63).describe('Callback endpoint of the configuration.'),
    time: z.iso.datetime().describe('When it happened.'),
  })
  .describe('One event that still has to be delivered.');

const TERMINAL_CEL = `['${TERMINAL_PHASES.join("','")}']`;
// Every clause asks has() first: removing the field or the whole status is a write like any other.
const OLD_PHASE = 'has(oldSelf.status) && has(oldSelf.status.phase)';
const OLD_ATTEMPT = 'has(oldSelf.status) && has(oldSelf.status.attempt)';
const ATTEMPT = 'has(self.status) && has(self.status.attempt)';
const SAME_ATTEMPT = `${ATTEMPT} && self.status.attempt.number == oldSelf.status.attempt.number`;

export const taskStatus = z
  .object({
    observedGeneration: z
      .int()
      .min(0)
      .optional()
      .describe('Generation of the spec that this status is about.'),
    phase: z.enum(PHASES).optional().describe('Where the task is. The last four are final.'),
    reason: reason.optional().describe('One word that says why the task is in this phase.'),
    message: z.string().max(1024).optional().describe('One sentence with the fix.'),
    conditions: z
      .array(condition)
      .max(8)
      .optional()
      .describe('Accepted, Started, Succeeded, Finished, Suspended, CallbacksDelivered.')
      .meta(listMap('type')),
    attempt: attempt.optional().describe('The current or last attempt.'),
    failedAttempts: z.int().min(0).optional().describe('Attempts that count against maxAttempts.'),
    disruptions: z
      .int()
      .min(0)
      .optional()
      .describe('Attempts that ended through no fault of the model; free up to a cap.'),
    nextAttemptAt: z.iso
      .datetime()
      .optional()
      .describe('Set when the attempt above is over and another one follows; not before this time.'),
    stopping: stopping
      .optional()
      .describe('Why the current attempt is being stopped; its verdict once no pod is left.'),
    failures: z.array(failureRecord).max(5).optional().describe('The last failures, oldest first.'),
    model: z
      .object({
        uid: z.string().max(64).describe('UID of the AnalysisModel.'),
        image: z.string().max(1024).describe('Image that ran, by digest where it is known.'),
      })
      .optional()
      .describe('The model as it was when the work started.'),
    retryOf: retried
      .optional()
      .describe('The task that is retried, as it was when this one was admitted; it may be gone since.'),
    progress: progress.optional().describe('How far the current attempt is. A hint, never a verdict.'),
    result: result.optional().describe('What was published.'),
    failedUnits: z
      .array(z.string().max(320))
      .max(10)
      .optional()
      .describe('The first units that failed, each with its reason.'),
    startedAt: z.iso.datetime().optional().describe('When the first model container ran.'),
    finishedAt: z.iso.datetime().optional().describe('When the phase became final.'),
    outbox: z
      .array(outboxEntry)
      .max(32)
      .optional()
      .describe('Events that still have to be delivered.')
      .meta(listMap('id')),
    settled: z
      .boolean()
      .optional()
      .describe('Terminal and nothing left to report: the controller no longer watches the task.'),
  })
  .describe('What the operator knows; written by the operator only.');

/**
 * Transition rules stand at the root of the object, because a rule on a field does not run when the field is removed.
 * They hold against every writer of /status, also against a second operator that believes to lead.
 */
export const taskRootRules = rules(
  {
    rule: `!(${OLD_PHASE} && oldSelf.status.phase in ${TERMINAL_CEL}) || (has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)`,
    message: 'a terminal phase never changes',
  },
  {
    rule: `!(${OLD_ATTEMPT}) || (${ATTEMPT} && self.status.attempt.number >= oldSelf.status.attempt.number)`,
    message: 'the attempt number never decreases',
  },
  {
    rule: `!(${OLD_ATTEMPT} && has(oldSelf.status.attempt.jobUID) && ${SAME_ATTEMPT}) || (has(self.status.attempt.jobUID) && self.status.attempt.jobUID == oldSelf.status.attempt.jobUID)`,
    message: "the UID of an attempt's Job is written once",
  },
  {
    rule: `!(has(self.status) && has(self.status.settled) && self.status.settled) || (has(self.status.phase) && self.status.phase in ${TERMINAL_CEL})`,
    message: 'only a task in a terminal phase is settled: nobody watches it any more',
  },
  {
    rule: 'self.metadata.name.size() <= 63',
    message: 'metadata.name must be at most 63 characters: it becomes the name of a Job and a label',
  },
  {
    rule: '!has(self.spec.retryOf) || self.spec.retryOf != self.metadata.name',
    message: 'retryOf names the task itself: name an earlier task',
  },
);

export type TaskSpecInput = z.input<typeof taskSpec>;
export type TaskStatus = z.infer<typeof taskStatus>;
export type Attempt = NonNullable<TaskStatus['attempt']>;
export type Retried = z.infer<typeof retried>;
export type Progress = NonNullable<TaskStatus['progress']>;
export type OutboxEntry = z.infer<typeof outboxEntry>;
export type FailureRecord = NonNullable<TaskStatus['failures']>[number];

export function isTerminal(phase: Phase | undefined): boolean {
  return phase !== undefined && (TERMINAL_PHASES as readonly Phase[]).includes(phase);
}
