import { z } from 'zod';
import { EFFORTS } from './effort.ts';
import { modelSpec } from './model.ts';

/** Where the containers of a task's pod find things. */
export const MOUNT = {
  /** Root of the store; prepare and publish only. */
  store: '/store',
  /** This pod's own staging directory; observe only. */
  staging: '/staging',
  /** The dataset, read-only; model only, and not for a worker, which looks elsewhere (worker.ts). */
  data: '/data',
  /** staging/out; likewise. */
  out: '/out',
  /** staging/ctl: the loop's plan and markers; model only, and only per File or Directory. */
  control: '/analysis',
  /** Downward API volume with the request. */
  request: '/etc/analysis',
} as const;

export const REQUEST_FILE = 'request.json';

/**
 * The agent's instructions. The controller writes them into the pod's annotation, the downward API shows them as a file;
 * prepare, observe and publish read the same document, so they can never disagree.
 */
export const agentRequest = z.object({
  schema: z.literal(1),
  identity: z.string().describe('What may be published once: the UID of the task, or elsi:<task_uid>.'),
  task: z.object({
    uid: z.string(),
    name: z.string(),
    namespace: z.string(),
    attempt: z.int().min(1),
    createdAt: z.string(),
  }),
  model: z.object({ name: z.string(), uid: z.string(), image: z.string(), version: z.string() }),
  run: modelSpec.shape.run.pick({ per: true, command: true, worker: true }),
  inputs: modelSpec.shape.inputs,
  requires: modelSpec.shape.requires,
  outputs: modelSpec.shape.outputs,
  failure: modelSpec.shape.failure.unwrap().pick({ maxFailedUnits: true, exitCodes: true }),
  provenance: modelSpec.shape.provenance,
  dataset: z.object({ path: z.string(), directory: z.string().optional() }),
  outputName: z.string(),
  parameters: z.record(z.string(), z.string()).describe('Resolved: defaults filled in, each checked.'),
  tuning: z
    .array(z.string())
    .default([])
    .describe('Parameters on which no result depends: a unit keeps its key when they change.'),
  resume: z.boolean(),
  retryOf: z
    .object({
      name: z.string(),
      uid: z.string(),
      identity: z.string(),
      outputName: z.string().optional().describe('Absent when it published nothing.'),
      manifestSha256: z.string().optional(),
    })
    .exactOptional()
    .describe('An ended task over the same dataset whose finished units are copied. Facts of the operator.'),
  operatorVersion: z.string(),
});
export type AgentRequest = z.output<typeof agentRequest>;

/**
 * Exit codes of prepare and publish. The Job's podFailurePolicy and the outcome table know them;
 * kubelet and shells use 1, 2 and 126 and above.
 */
export const EXIT = {
  ok: 0,
  invalidInput: 10,
  missingOutput: 11,
  storage: 13,
  internal: 14,
  alreadyPublished: 42,
  outputConflict: 43,
} as const;

/** Why an attempt failed, as the agent sees it from inside the pod. */
export const AGENT_CATEGORIES = [
  'InvalidInput',
  'MissingOutput',
  'ModelError',
  'OutOfMemory',
  'Storage',
  'OutputConflict',
  'AgentError',
] as const;

/** Work that the model did in one pod; what earlier pods had finished is not part of it. */
export const workReport = z.object({
  effort: z.enum(EFFORTS).describe('What the amounts are counted in.'),
  done: z.number().min(0).describe('Effort of the units that ended well.'),
  failed: z.number().min(0).describe('Effort of the units that failed.'),
});
export type WorkReport = z.infer<typeof workReport>;

/**
 * The termination message of prepare and publish: at most 2 KiB of JSON. What does not fit is in the manifest.
 */
export const agentReport = z.object({
  v: z.literal(1),
  category: z.enum(AGENT_CATEGORIES).optional().describe('Absent when the step succeeded.'),
  message: z.string().max(900).describe('One sentence: what is wrong, the value, the fix.'),
  units: z.object({ total: z.int(), done: z.int(), failed: z.int(), reused: z.int() }).optional(),
  failedUnits: z.array(z.string().max(200)).max(4).optional(),
  result: z
    .object({ path: z.string(), manifestSha256: z.string(), files: z.int(), bytes: z.int() })
    .optional()
    .describe('Present when outputs are published; path is relative to the root of the store.'),
  // A hint: what another version wrote here never makes the verdict unreadable.
  work: workReport.optional().catch(undefined).describe('Present when this pod published.'),
});
export type AgentReport = z.infer<typeof agentReport>;

/** Answer of observe's GET /progress. */
export const progressReport = z.object({
  taskUID: z.string(),
  podUID: z.string(),
  unitsDone: z.int().min(0),
  unitsTotal: z.int().min(0),
  unitsFailed: z.int().min(0),
  percent: z.int().min(0).max(100),
  estimatedSecondsLeft: z
    .number()
    .min(0)
    .optional()
    .describe("By the pod's own pace alone; read only from agents that do not report their work."),
  work: z
    .object({
      effort: z.enum(EFFORTS).describe('What the amounts are counted in.'),
      done: z.number().min(0).describe('Effort of the units that the model ended in this pod.'),
      left: z.number().min(0).describe('Effort of the units that have not ended.'),
      sinceSeconds: z
        .number()
        .min(0)
        .describe('Seconds since a unit ended; since the start of observe, when none has.'),
    })
    .optional()
    .catch(undefined),
});
export type ProgressReport = z.infer<typeof progressReport>;

/** Names below <dataset>/outputs, shared by the builders of mounts and by the agent. */
export const STAGING = {
  outputs: 'outputs',
  staging: '.staging',
  out: 'out',
  control: 'ctl',
  plan: 'plan.json',
  records: 'units.jsonl',
  worker: 'worker.json',
} as const;
