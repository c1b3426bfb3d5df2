import type { Step } from '../support/mutate.ts';
import { WORKER_RULE_CASES } from './worker-rules.ts';

export type Change = readonly [path: string, value: unknown];
type Cases = Readonly<Record<string, readonly Change[]>>;

/**
 * Good and bad samples for one CEL rule. `create` changes the sample before it is created, `update` changes the stored
 * object, `status` changes its status through /status. `from` says what the stored object differs in beforehand.
 */
export type RuleCase = {
  readonly rule: string;
  readonly kind: 'AnalysisTask' | 'AnalysisModel';
  readonly via: 'create' | 'update' | 'status';
  readonly from?: readonly Change[];
  readonly accepted: Cases;
  readonly refused: Cases;
};

/** `spec.run.command.0` as steps; digits are positions in a list. */
export const steps = (path: string): readonly Step[] =>
  path.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));

const spec = (field: string, value: unknown): readonly Change[] => [[`spec.${field}`, value]];

const storePath = (field: 'path' | 'directory'): RuleCase => ({
  rule: `dataset.${field} must be a relative path below the store`,
  kind: 'AnalysisTask',
  via: 'create',
  accepted: {
    'one segment': spec(`dataset.${field}`, 'corpus'),
    'blanks, capitals and any script': spec(`dataset.${field}`, 'Lab 1/Tseltal 2015/día 1/録音'),
    'dots and dashes inside a segment': spec(`dataset.${field}`, 'a.b-c/d..e/f-'),
    'braces, quotes and a dollar, which no shell ever sees': spec(`dataset.${field}`, '$(id)/{x}/"y"'),
  },
  refused: {
    'a segment ..': spec(`dataset.${field}`, 'a/../b'),
    'a leading ..': spec(`dataset.${field}`, '../b'),
    'a trailing ..': spec(`dataset.${field}`, 'a/..'),
    'an absolute path': spec(`dataset.${field}`, '/etc/passwd'),
    'a hidden segment': spec(`dataset.${field}`, 'a/.git'),
    'a segment that looks like an option': spec(`dataset.${field}`, 'a/-rf'),
    'a leading dash': spec(`dataset.${field}`, '-x'),
    'a trailing slash': spec(`dataset.${field}`, 'a/'),
    'an empty segment': spec(`dataset.${field}`, 'a//b'),
    'a NUL': spec(`dataset.${field}`, 'a\u0000b'),
    'a newline': spec(`dataset.${field}`, 'a\nb'),
    'a newline at the end': spec(`dataset.${field}`, 'a\n'),
    'a terminal escape': spec(`dataset.${field}`, 'a\u001b[31m'),
    'a C1 control character': spec(`dataset.${field}`, 'a\u0085b'),
  },
});

const below = (what: string, field: string): RuleCase => ({
  rule: `${what} must stay below its directory`,
  kind: 'AnalysisModel',
  via: 'create',
  accepted: {
    'a plain path': spec(field, 'a/b'),
    'dots inside a segment': spec(field, '..a/b..c/.d'),
    globs: spec(field, '**/*.wav'),
  },
  refused: {
    'a segment ..': spec(field, 'a/../b'),
    'a leading ..': spec(field, '../a'),
    'a segment .': spec(field, './a'),
  },
});

const frozen = (field: string, other: unknown): RuleCase => ({
  rule: `${field} is immutable`,
  kind: 'AnalysisTask',
  via: 'update',
  accepted: { 'a change elsewhere': spec('desired', 'Suspend') },
  refused: { 'another value': spec(field, other), ...removal(field) },
});

/** A field with a default comes back when it is removed, and model and dataset are required. */
function removal(field: string): Cases {
  const always = ['model', 'dataset', 'resume', 'priority'];
  return always.includes(field) ? {} : { 'its removal': spec(field, undefined) };
}

const TERMINAL = ['Succeeded', 'PartiallySucceeded', 'Failed', 'Cancelled'];
const terminal = (phase: string): RuleCase => ({
  rule: 'a terminal phase never changes',
  kind: 'AnalysisTask',
  via: 'status',
  from: [['status.phase', phase]],
  accepted: {
    'the same phase with another message': [['status.message', 'all callbacks are delivered']],
    settling: [['status.settled', true]],
  },
  refused: {
    ...Object.fromEntries(
      ['Pending', 'Running', ...TERMINAL]
        .filter((other) => other !== phase)
        .map((other) => [`${phase} -> ${other}`, [['status.phase', other]] as const]),
    ),
    [`${phase}, phase removed`]: [['status.phase', undefined]],
    [`${phase}, status removed`]: [['status', undefined]],
    [`${phase}, status emptied`]: [['status', {}]],
  },
});

const settledIn = (phase: string | undefined): readonly Change[] => [
  ['status.phase', phase],
  ['status.settled', true],
];

const command = (...argv: string[]): readonly Change[] => spec('run.command', argv);

/** One entry or more per CEL rule; the test that uses them fails when a rule has none. */
export const RULE_CASES: readonly RuleCase[] = [
  storePath('path'),
  storePath('directory'),
  {
    rule: 'a parameter name consists of at most 63 letters',
    kind: 'AnalysisTask',
    via: 'create',
    accepted: {
      'letters, digits and underscores': spec('parameters', { Vad_2: '1' }),
      '63 characters': spec('parameters', { ['a'.repeat(63)]: '1' }),
      'none at all': spec('parameters', {}),
    },
    refused: {
      'a dash': spec('parameters', { 'a-b': '1' }),
      'a digit first': spec('parameters', { '1a': '1' }),
      'an empty name': spec('parameters', { '': '1' }),
      'a blank': spec('parameters', { 'a b': '1' }),
      'a placeholder': spec('parameters', { '{input}': '1' }),
      'a newline at the end': spec('parameters', { 'a\n': '1' }),
      '64 characters': spec('parameters', { ['a'.repeat(64)]: '1' }),
    },
  },
  frozen('model', 'other-model'),
  frozen('dataset', { path: 'other' }),
  frozen('resume', false),
  frozen('priority', 'Low'),
  frozen('outputName', 'other'),
  frozen('parameters', { threshold: '0.1' }),
  frozen('queue', 'other'),
  frozen('callbacks', ['other']),
  frozen('retryOf', 'other'),
  {
    rule: 'queue is immutable',
    kind: 'AnalysisTask',
    via: 'update',
    from: spec('queue', undefined),
    accepted: {
      'a ttl': spec('ttlSecondsAfterSettled', 60),
      'no ttl': spec('ttlSecondsAfterSettled', undefined),
      suspending: spec('desired', 'Suspend'),
      cancelling: spec('desired', 'Cancel'),
    },
    refused: { 'a queue that was not there': spec('queue', 'late') },
  },
  {
    rule: 'a cancelled task cannot be started again',
    kind: 'AnalysisTask',
    via: 'update',
    from: spec('desired', 'Cancel'),
    accepted: { 'another ttl': spec('ttlSecondsAfterSettled', 1) },
    refused: {
      'Cancel -> Run': spec('desired', 'Run'),
      'Cancel -> Suspend': spec('desired', 'Suspend'),
      'Cancel removed, which means Run': spec('desired', undefined),
    },
  },
  {
    rule: 'metadata.name must be at most 63 characters',
    kind: 'AnalysisTask',
    via: 'create',
    accepted: { '63 characters': [['metadata.name', 'a'.repeat(63)]], 'a dot': [['metadata.name', 'a.b']] },
    refused: { '64 characters': [['metadata.name', 'a'.repeat(64)]] },
  },
  {
    rule: 'retryOf names the task itself',
    kind: 'AnalysisTask',
    via: 'create',
    accepted: {
      'another task': [['metadata.name', 'earlier-run-2']],
      none: spec('retryOf', undefined),
    },
    refused: { itself: [['metadata.name', 'earlier-run']] },
  },
  ...TERMINAL.map(terminal),
  {
    rule: 'a terminal phase never changes',
    kind: 'AnalysisTask',
    via: 'status',
    accepted: {
      'Running -> Pending, for a further attempt': [['status.phase', 'Pending']],
      'Running -> Failed': [['status.phase', 'Failed']],
    },
    refused: {},
  },
  {
    rule: 'only a task in a terminal phase is settled',
    kind: 'AnalysisTask',
    via: 'status',
    accepted: {
      'Running, not settled': [['status.settled', false]],
      ...Object.fromEntries(
        TERMINAL.map((phase) => [`${phase}, settled in the same write`, settledIn(phase)]),
      ),
    },
    refused: {
      'Running, settled': settledIn('Running'),
      'Pending, settled': settledIn('Pending'),
      'settled without a phase': settledIn(undefined),
    },
  },
  {
    rule: 'the attempt number never decreases',
    kind: 'AnalysisTask',
    via: 'status',
    accepted: {
      'the next attempt': [
        ['status.attempt.number', 3],
        ['status.attempt.jobUID', undefined],
      ],
      'the same attempt, claimed by another process': [['status.attempt.claimedBy', 'operator-2']],
    },
    refused: {
      '2 -> 1': [['status.attempt.number', 1]],
      'attempt removed': [['status.attempt', undefined]],
      'status removed': [['status', undefined]],
      'status emptied': [['status', {}]],
    },
  },
  {
    rule: "the UID of an attempt's Job is written once",
    kind: 'AnalysisTask',
    via: 'status',
    accepted: {
      'the UID of the next attempt': [
        ['status.attempt.number', 3],
        ['status.attempt.jobUID', 'another'],
      ],
    },
    refused: {
      'another UID for the same attempt': [['status.attempt.jobUID', 'another']],
      'UID removed': [['status.attempt.jobUID', undefined]],
    },
  },
  {
    rule: "the UID of an attempt's Job is written once",
    kind: 'AnalysisTask',
    via: 'status',
    from: [['status.attempt.jobUID', undefined]],
    accepted: { 'a UID where there was none': [['status.attempt.jobUID', 'first']] },
    refused: {},
  },
  below('inputs.root', 'inputs.root'),
  below('inputs.include', 'inputs.include.0'),
  below('requires', 'requires.0'),
  below('outputs[].path', 'outputs.0.path'),
  {
    rule: 'a placeholder may not stand inside a shell script',
    kind: 'AnalysisModel',
    via: 'create',
    accepted: {
      'the placeholder as "$1"': command('sh', '-c', 'run "$1"', 'sh', '{input}'),
      'no shell at all': command('run', '{input}', '{output}'),
      'braces of the shell': command('bash', '-c', 'echo ${1} {a,b}', 'bash', '{input}'),
      '-c as the last element': command('run', '{input}', '-c'),
    },
    refused: {
      'the input': command('sh', '-c', 'run {input}'),
      'a parameter': command('sh', '-c', 'run --x={param.x} "$1"', 'sh', '{input}'),
      'the output directory': command('bash', '-c', 'cd {outputDir}'),
      'a shell that stops on errors': command('bash', '-ec', 'run {input}'),
      'a login shell': command('bash', '-lc', 'run {stem}'),
      python: command('python3', '-c', 'print("{rec}")'),
      'a second script': command('env', '-c', 'x', 'sh', '-c', 'run {rel}'),
      'the last two of 64 elements': command(...Array.from({ length: 62 }, () => 'x'), '-c', '{input}'),
    },
  },
  {
    rule: 'scratch.path may not be /tmp or /dev/shm',
    kind: 'AnalysisModel',
    via: 'create',
    accepted: {
      'a folder of the model': spec('run.scratch.0.path', '/opt/model/tmp'),
      'a folder whose name only begins so': spec('run.scratch.0.path', '/database'),
      'below /tmp': spec('run.scratch.0.path', '/tmp/cache'),
    },
    refused: {
      '/data': spec('run.scratch.0.path', '/data'),
      'below /data': spec('run.scratch.0.path', '/data/x'),
      'below /out': spec('run.scratch.0.path', '/out/x'),
      '/analysis': spec('run.scratch.0.path', '/analysis'),
      '/tmp': spec('run.scratch.0.path', '/tmp'),
      '/dev/shm': spec('run.scratch.0.path', '/dev/shm'),
    },
  },
  {
    rule: 'minimum and maximum need type Integer or Number',
    kind: 'AnalysisModel',
    via: 'create',
    accepted: { 'bounds of an Integer': spec('parameters.0.type', 'Integer') },
    refused: {
      'bounds of a String': spec('parameters.0.type', 'String'),
      'bounds of a Boolean': spec('parameters.0.type', 'Boolean'),
    },
  },
  {
    rule: 'minimum must not be greater than maximum',
    kind: 'AnalysisModel',
    via: 'create',
    accepted: {
      'equal bounds': spec('parameters.0.minimum', 1),
      'no minimum': spec('parameters.0.minimum', undefined),
    },
    refused: { 'minimum 2 with maximum 1': spec('parameters.0.minimum', 2) },
  },
  {
    rule: 'outOfMemoryFactor needs type Integer or Number',
    kind: 'AnalysisModel',
    via: 'create',
    from: [
      ['spec.parameters.0.minimum', undefined],
      ['spec.parameters.0.maximum', undefined],
    ],
    accepted: { 'an Integer': spec('parameters.0.type', 'Integer') },
    refused: { 'a String': spec('parameters.0.type', 'String') },
  },
  {
    rule: 'an AnalysisModel is immutable',
    kind: 'AnalysisModel',
    via: 'update',
    accepted: { 'a label': [['metadata.labels', { team: 'speech' }]] },
    refused: {
      'another image': spec('image', 'registry.example/other:1'),
      'another deadline': spec('failure.runDeadlineSeconds', 60),
      'a field more': spec('inputs.audio.channels', 2),
      'a field less': spec('rate', undefined),
    },
  },
  {
    rule: 'per: Dataset knows only {inputDir}, {outputDir} and {param.NAME}',
    kind: 'AnalysisModel',
    via: 'create',
    from: spec('run.per', 'Dataset'),
    accepted: {
      'directories and parameters': command('run', '{inputDir}', '{outputDir}', '{param.threshold}'),
    },
    refused: {
      '{input}': command('run', '{input}'),
      '{stem} inside an element': command('run', '--name={stem}'),
      '{reldir}': command('run', '{reldir}'),
    },
  },
  {
    rule: 'per: Directory works on {inputDir} and {outputDir}',
    kind: 'AnalysisModel',
    via: 'create',
    from: spec('run.per', 'Directory'),
    accepted: { directories: command('run', '{inputDir}', '{outputDir}', '{reldir}') },
    refused: { '{input}': command('run', '{input}'), '{output}': command('run', '--to={output}') },
  },
  ...WORKER_RULE_CASES,
  {
    rule: 'metadata.name must be at most 63 letters, digits and dashes',
    kind: 'AnalysisModel',
    via: 'create',
    accepted: { '63 characters': [['metadata.name', 'a'.repeat(63)]] },
    refused: {
      '64 characters': [['metadata.name', 'a'.repeat(64)]],
      'a dot': [['metadata.name', 'vtc-2.0']],
    },
  },
];
