import { z } from 'zod';
import { absolutePath, listMap, quantity, rules } from './schema.ts';
import { WORKER, WORKER_ENV } from './worker.ts';

/** One element of a command template; `{input}`-like placeholders are filled per unit. */
const argument = z.string().max(4096);

const MAX_ARGUMENTS = 64;
/** CEL's macros hand out elements, not positions, so the rule walks a literal list of every possible position. */
const POSITIONS = `[${Array.from({ length: MAX_ARGUMENTS - 1 }, (_, i) => i).join(',')}]`;

const celList = (texts: readonly string[]): string => `[${texts.map((text) => `'${text}'`).join(', ')}]`;

const scratch = z
  .object({
    path: absolutePath().describe('Absolute path inside the container that must be writable.'),
    seedFromImage: z
      .boolean()
      .default(false)
      .describe('Copy what the image holds at this path into the scratch volume before the model starts.'),
    sizeLimit: quantity().optional().describe('Upper bound of the volume; the pod is evicted above it.'),
  })
  .describe('One writable directory.')
  .meta(
    rules({
      rule: "!(self.path in ['/tmp', '/dev/shm']) && !['/data', '/out', '/analysis'].exists(m, self.path == m || self.path.startsWith(m + '/'))",
      message:
        'scratch.path may not be /tmp or /dev/shm and may not lie in /data, /out or /analysis: the operator mounts these itself',
      fieldPath: '.path',
    }),
  );

const variable = z
  .object({
    name: z
      .string()
      .max(128)
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
      .describe('Name of the variable.'),
    value: z.string().max(4096).default('').describe('Value, passed as it is: $(OTHER) is not expanded.'),
  })
  .describe('One environment variable.');

/** How the model's container is started (spec.run). */
export const run = z
  .object({
    per: z
      .enum(['File', 'Directory', 'Dataset'])
      .describe(
        'What one run of the command works on: one input file, one directory of inputs, or the whole dataset.',
      ),
    command: z
      .array(argument)
      .min(1)
      .max(MAX_ARGUMENTS)
      .optional()
      .describe(
        'Argument vector, required without worker. Placeholders: {input} {inputDir} {output} {outputDir} {rel} {reldir} {stem} {rec} {param.NAME}. No shell is involved unless the command names one; then pass placeholders as "$1", never inside the script.',
      )
      .meta(
        rules({
          rule: `!${POSITIONS}.exists(i, i + 1 < self.size() && self[i].matches('^-[A-Za-z]*c$') && self[i + 1].matches('[{](input|output|rel|stem|rec|param)'))`,
          message:
            'a placeholder may not stand inside a shell script: write ["sh", "-c", "run \\"$1\\"", "sh", "{input}"], so that a file name is never executed',
        }),
      ),
    worker: z
      .enum(['Redis'])
      .optional()
      .describe(
        "In place of command: the image's own entry point is a LAAC worker, which takes its task from a Redis queue, whatever its name, and reports there. The pod brings that queue. Needs per: Dataset.",
      ),
    workingDir: absolutePath().optional().describe("Working directory; the image's own by default."),
    env: z
      .array(variable)
      .max(64)
      .optional()
      .describe('Fixed environment of the model. Secrets do not belong here.')
      .meta(listMap('name')),
    scratch: z
      .array(scratch)
      .max(16)
      .optional()
      .describe('Writable directories beside /out and /tmp, for models that write into their own folder.')
      .meta(listMap('path')),
    shm: quantity()
      .optional()
      .describe('Size of /dev/shm, counted against the memory limit. Kubernetes gives 64Mi by default.'),
    readOnlyRootFilesystem: z.boolean().default(true).describe("Mount the image's file system read-only."),
    terminationGracePeriodSeconds: z
      .int()
      .min(0)
      .max(600)
      .default(10)
      .describe('Seconds between SIGTERM and SIGKILL when the task is cancelled, suspended or deleted.'),
  })
  .describe('How the model is started.')
  .meta(
    rules(
      {
        rule: 'has(self.command) != has(self.worker)',
        message:
          'run needs either command or worker: Redis, and not both: the entry point of its image starts a worker',
      },
      {
        rule: "!has(self.worker) || self.per == 'Dataset'",
        message: 'worker: Redis needs per: Dataset: a worker takes one task and finds its inputs itself',
      },
      {
        rule: `!has(self.worker) || !has(self.env) || !self.env.exists(e, e.name in ${celList(Object.keys(WORKER_ENV))})`,
        message: `with worker: Redis, run.env may not set ${Object.keys(WORKER_ENV).join(', ')}: the operator sets these itself`,
      },
      {
        rule: `!has(self.worker) || !has(self.scratch) || !self.scratch.exists(s, s.path == '${WORKER.datasets}' || s.path.startsWith('${WORKER.datasets}/'))`,
        message: `with worker: Redis, scratch.path may not lie in ${WORKER.datasets}: the operator mounts the dataset there`,
      },
    ),
  );
