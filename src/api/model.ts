import { z } from 'zod';
import { EFFORTS } from './effort.ts';
import { run } from './model-run.ts';
import { condition, dnsLabel, listMap, quantity, relativePath, rules, setList } from './schema.ts';

const inputs = z
  .object({
    root: relativePath('inputs.root')
      .default('recordings/converted/standard')
      .describe('Directory below the dataset in which inputs are looked for.'),
    include: z
      .array(relativePath('inputs.include'))
      .min(1)
      .max(16)
      .default(['**/*.wav'])
      .describe('Globs below root; a file that matches any of them is an input.')
      .meta(setList),
    audio: z
      .object({
        sampleRate: z.int().min(1000).max(768000).optional().describe('Required sample rate in Hz.'),
        channels: z.int().min(1).max(64).optional().describe('Required number of channels.'),
      })
      .optional()
      .describe('What every input must be; read from the file header before a GPU is used.'),
    effort: z
      .enum(EFFORTS)
      .default('Bytes')
      .describe(
        'What the work on an input grows with, for percentages and estimates: its size, the length of its audio, or the sum of its annotated segments (inputs in RTTM or in CSV with segment_onset and segment_offset).',
      ),
  })
  .describe('Which files of the dataset the model reads.');

const output = z
  .object({
    path: relativePath('outputs[].path').describe(
      'Template below the outputs directory, such as "raw/{reldir}/{stem}.rttm". Placeholders: {rel} {reldir} {stem} {rec}.',
    ),
    allowEmpty: z
      .boolean()
      .default(false)
      .describe('Whether a file of zero bytes counts as a result (silence, for a speech detector).'),
    format: z
      .enum(['Any', 'Text', 'Json', 'Rttm', 'Csv'])
      .default('Any')
      .describe(
        'How completeness is checked: Text, Rttm and Csv must end with a whole line, Rttm lines must have their fields, Json must parse.',
      ),
  })
  .describe('One promised file, or one per unit.');

const parameter = z
  .object({
    name: z
      .string()
      .max(63)
      .regex(/^[A-Za-z][A-Za-z0-9_]*$/)
      .describe('Name, as in {param.NAME}.'),
    type: z.enum(['String', 'Integer', 'Number', 'Boolean']).describe('Type that the value must parse as.'),
    description: z.string().max(512).optional().describe('What the parameter does, for researchers.'),
    default: z
      .string()
      .max(1024)
      .optional()
      .describe('Value when the task gives none. Without it the parameter is required.'),
    minimum: z.number().optional().describe('Smallest value of an Integer or Number.'),
    maximum: z.number().optional().describe('Largest value of an Integer or Number.'),
    enum: z.array(z.string().max(256)).max(64).optional().describe('The only values allowed.').meta(setList),
    maxLength: z.int().min(1).max(1024).default(256).describe('Longest String value, in characters.'),
    affectsOutput: z
      .boolean()
      .default(true)
      .describe(
        'Whether results depend on it. False for tuning such as a batch size: units that were finished with another value are kept.',
      ),
    outOfMemoryFactor: z
      .number()
      .min(0.01)
      .max(0.99)
      .optional()
      .describe(
        'What the value of an Integer or Number is multiplied with for each attempt that ran out of memory, of the machine or of the GPU. It never falls below minimum, an Integer never below 1.',
      ),
  })
  .describe('One parameter that a task may set.')
  .meta(
    rules(
      {
        rule: "self.type in ['Integer', 'Number'] || (!has(self.minimum) && !has(self.maximum))",
        message: 'minimum and maximum need type Integer or Number',
      },
      {
        rule: "self.type in ['Integer', 'Number'] || !has(self.outOfMemoryFactor)",
        message: 'outOfMemoryFactor needs type Integer or Number',
      },
      {
        rule: '!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum',
        message: 'minimum must not be greater than maximum',
      },
    ),
  );

const resources = z
  .object({
    cpu: quantity().default('1').describe('CPU request; the model may use more when the node has it.'),
    cpuLimit: quantity().optional().describe('CPU limit; none by default.'),
    memory: quantity()
      .default('2Gi')
      .describe('Memory request and limit: a model above it is ended as OutOfMemory.'),
    ephemeralStorage: quantity()
      .optional()
      .describe("Request and limit of the node's own disk, which scratch volumes use."),
  })
  .describe('What the model container needs.');

const toleration = z
  .object({
    key: z.string().max(317).optional().describe('Taint key; empty with operator Exists matches all.'),
    operator: z.enum(['Exists', 'Equal']).optional().describe('How value is compared; Equal by default.'),
    value: z.string().max(63).optional().describe('Taint value.'),
    effect: z
      .enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute'])
      .optional()
      .describe('Taint effect; all effects by default.'),
    tolerationSeconds: z
      .int()
      .optional()
      .describe('How long a NoExecute taint is tolerated, in seconds; for ever by default.'),
  })
  .describe('A node taint that the pod tolerates, as in a pod.');

const failure = z
  .object({
    maxAttempts: z
      .int()
      .min(1)
      .max(20)
      .default(2)
      .describe('Attempts that may fail by themselves before the task is Failed. Disruptions do not count.'),
    backoffSeconds: z
      .int()
      .min(0)
      .max(3600)
      .default(10)
      .describe('Pause before the second attempt in seconds; doubled for each further one.'),
    pendingDeadlineSeconds: z
      .int()
      .min(10)
      .max(2592000)
      .default(86400)
      .describe('How long a task may wait (for a model, a node, an image) before it is Failed, in seconds.'),
    runDeadlineSeconds: z
      .int()
      .min(10)
      .max(2592000)
      .default(86400)
      .describe('How long one attempt may run on its node, in seconds.'),
    maxFailedUnits: z
      .int()
      .min(0)
      .max(1000000)
      .default(0)
      .describe(
        'Units that may fail while the rest is still published; the task is then PartiallySucceeded.',
      ),
    onPartial: z
      .enum(['Complete', 'Fail'])
      .default('Complete')
      .describe('How a PartiallySucceeded task is reported to ELSI.'),
    exitCodes: z
      .array(
        z
          .object({
            code: z.int().min(1).max(255).describe('Exit code of the model.'),
            category: z
              .enum(['InvalidInput', 'ModelError', 'OutOfMemory', 'Storage'])
              .describe('What it means. InvalidInput is never retried.'),
            hint: z.string().max(256).optional().describe('What a researcher should do about it.'),
          })
          .describe('Meaning of one exit code.'),
      )
      .max(32)
      .optional()
      .describe("What the model's own exit codes mean.")
      .meta(listMap('code')),
  })
  .describe('What happens when an attempt fails.');

const gpu = z.object({
  resourceName: z
    .string()
    .max(253)
    .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/)
    .default('nvidia.com/gpu')
    .describe('Extended resource that stands for the GPU.'),
  count: z.int().min(1).max(64).default(1).describe('GPUs per pod.'),
});

const provenance = z
  .object({
    annotatorName: z
      .string()
      .max(128)
      .optional()
      .describe("Name of the annotator; the model's name by default."),
    method: z
      .enum(['automated', 'manual', 'derivation', 'citizen-scientists'])
      .default('automated')
      .describe('How the annotations come about.'),
    licence: z.string().max(256).optional().describe('Licence of the model.'),
    citation: z.string().max(1024).optional().describe('What to cite.'),
    homepage: z.string().max(512).optional().describe('Where the model is described.'),
  })
  .describe('What metannots.yml says about the annotator.');

export const modelSpec = z
  .object({
    version: z
      .string()
      .min(1)
      .max(63)
      .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]*$/)
      .describe("The model's own version; also part of the object's name, because a change is a new object."),
    description: z.string().max(512).optional().describe('One sentence for researchers.'),
    image: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[a-z0-9][A-Za-z0-9./:_-]*(@sha256:[0-9a-f]{64})?$/)
      .describe('Container image, by digest unless the operator runs with allowTags.'),
    imagePullSecrets: z
      .array(dnsLabel())
      .max(8)
      .optional()
      .describe("Names of pull secrets in the task's namespace.")
      .meta(setList),
    run,
    inputs: inputs.prefault({}),
    requires: z
      .array(relativePath('requires'))
      .max(16)
      .optional()
      .describe(
        'Globs below the dataset that must match before a task may start, such as "annotations/vtc/converted/*.csv".',
      )
      .meta(setList),
    outputs: z
      .array(output)
      .min(1)
      .max(16)
      .describe('The files that must exist after a run. A run without them has failed, whatever it says.')
      .meta(listMap('path')),
    parameters: z.array(parameter).max(32).optional().describe('What a task may set.').meta(listMap('name')),
    resources: resources.prefault({}),
    gpu: gpu.optional().describe('GPU need; without it the model runs on the CPU.'),
    nodeSelector: z
      .record(z.string().max(317), z.string().max(63))
      .optional()
      .describe('Labels that a node must have.')
      .meta({ maxProperties: 16 }),
    tolerations: z
      .array(toleration)
      .max(16)
      .optional()
      .describe('Node taints that the pod tolerates.')
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
    runtimeClassName: dnsLabel().optional().describe('RuntimeClass of the pod, such as "nvidia".'),
    failure: failure.prefault({}),
    outputBytes: z
      .object({
        perUnit: z.int().min(0).max(1e12).default(0).describe('Bytes per unit.'),
        perAudioSecond: z.number().min(0).max(1e9).default(0).describe('Bytes per second of audio.'),
      })
      .optional()
      .describe(
        'Estimated size of the outputs; with the store agent, a task that does not fit on the volume waits.',
      ),
    rate: z
      .number()
      .min(0)
      .max(1000)
      .optional()
      .describe('Work seconds per second of audio, the first guess for estimates.'),
    provenance: provenance.optional(),
  })
  .describe('A model of the catalogue. Immutable: a new version is a new object.')
  .meta(
    rules(
      {
        rule: 'self == oldSelf',
        message: 'an AnalysisModel is immutable: create a new object whose name carries the new version',
      },
      {
        rule: "self.run.per != 'Dataset' || !has(self.run.command) || self.run.command.all(a, !a.matches('[{](input|output|rel|reldir|stem|rec)[}]'))",
        message:
          'per: Dataset knows only {inputDir}, {outputDir} and {param.NAME}: {input}, {output}, {rel}, {reldir}, {stem} and {rec} need per: File or Directory',
      },
      {
        rule: "self.run.per != 'Directory' || !has(self.run.command) || self.run.command.all(a, !a.contains('{input}') && !a.contains('{output}'))",
        message: 'per: Directory works on {inputDir} and {outputDir}: {input} and {output} need per: File',
      },
      {
        rule: '!has(self.run.worker) || !has(self.parameters) || self.parameters.size() == 0',
        message:
          'a model with worker: Redis takes no parameters, because its task cannot carry them: write fixed values into run.env',
      },
    ),
  );

const learntRate = z
  .object({
    gpu: z
      .string()
      .min(1)
      .max(253)
      .describe(
        'Where it was measured: the product of the GPU (node label nvidia.com/gpu.product), the name of its resource where the node does not tell, or None without a GPU.',
      ),
    effort: z.enum(EFFORTS).describe('What the effort is counted in: inputs.effort of the model.'),
    p50: z
      .number()
      .min(0)
      .describe(
        'Work seconds per second of audio, per second of annotated segments, or per million bytes; half of the runs were faster.',
      ),
    p90: z.number().min(0).describe('The same; nine of ten runs were faster.'),
    samples: z.int().min(1).describe('Finished attempts that it was learnt from; recent ones count more.'),
    summary: z.string().max(64).describe('For people: "1 h of audio in 2.4 min".'),
    updatedAt: z.iso.datetime().describe('When an attempt last changed it.'),
  })
  .describe('How fast the model was on one kind of hardware.');

/** Kinds of hardware that are remembered per model. */
export const MAX_RATES = 8;

export const modelStatus = z
  .object({
    observedGeneration: z
      .int()
      .min(0)
      .optional()
      .describe('Generation of the spec that this status is about.'),
    conditions: z
      .array(condition)
      .max(8)
      .optional()
      .describe('Ready says whether tasks may use the model, and why not.')
      .meta(listMap('type')),
    rates: z
      .array(learntRate)
      .max(MAX_RATES)
      .optional()
      .describe('How fast the model was, learnt from finished tasks; the latest first.')
      .meta(listMap('gpu')),
  })
  .describe('What the operator found; written by the operator only.');

/** Rules at the root of an AnalysisModel: a task names its model in a field of 63 characters without dots. */
export const modelRootRules = rules({
  rule: "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
  message: 'metadata.name must be at most 63 letters, digits and dashes, such as "vtc-2-0"',
});

export type ModelSpec = z.output<typeof modelSpec>;
export type ModelSpecInput = z.input<typeof modelSpec>;
export type ModelStatus = z.infer<typeof modelStatus>;
export type LearntRate = Readonly<z.infer<typeof learntRate>>;
export type ModelParameter = z.output<typeof parameter>;
export type ModelOutput = z.output<typeof output>;
