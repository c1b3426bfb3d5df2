import type { Change, RuleCase } from './rules.ts';

const spec = (field: string, value: unknown): readonly Change[] => [[`spec.${field}`, value]];

/** Makes the sample a worker's model. */
const worker = (): readonly Change[] => [
  ...spec('run.command', undefined),
  ...spec('run.worker', 'Redis'),
  ...spec('run.per', 'Dataset'),
];
const WITHOUT_PARAMETERS = spec('parameters', undefined);

/** The CEL rules about workers (rules.ts holds the others). */
export const WORKER_RULE_CASES: readonly RuleCase[] = [
  {
    rule: 'run needs either command or worker: Redis, and not both',
    kind: 'AnalysisModel',
    via: 'create',
    from: WITHOUT_PARAMETERS,
    accepted: { 'a command': [], 'a worker': worker() },
    refused: {
      neither: spec('run.command', undefined),
      both: [...worker(), ...spec('run.command', ['run'])],
    },
  },
  {
    rule: 'worker: Redis needs per: Dataset',
    kind: 'AnalysisModel',
    via: 'create',
    from: WITHOUT_PARAMETERS,
    accepted: { 'the whole dataset': worker() },
    refused: {
      'one file': [...worker(), ...spec('run.per', 'File')],
      'a directory': [...worker(), ...spec('run.per', 'Directory')],
    },
  },
  {
    rule: 'with worker: Redis, run.env may not set REDIS_HOST',
    kind: 'AnalysisModel',
    via: 'create',
    from: WITHOUT_PARAMETERS,
    accepted: {
      'another variable': worker(),
      'none at all': [...worker(), ...spec('run.env', undefined)],
      'with a command, anything': spec('run.env.0.name', 'REDIS_HOST'),
    },
    refused: {
      'the host': [...worker(), ...spec('run.env.0.name', 'REDIS_HOST')],
      'the port': [...worker(), ...spec('run.env.0.name', 'REDIS_PORT')],
      'the place of datasets': [...worker(), ...spec('run.env.0.name', 'DATASETS_DIR')],
      'the other folder': [...worker(), ...spec('run.env.0.name', 'ECHOLALIA_DIR')],
    },
  },
  {
    rule: 'with worker: Redis, scratch.path may not lie in /app/datasets',
    kind: 'AnalysisModel',
    via: 'create',
    from: WITHOUT_PARAMETERS,
    accepted: {
      'another folder': worker(),
      'a folder whose name only begins so': [...worker(), ...spec('run.scratch.0.path', '/app/datasets2')],
      'none at all': [...worker(), ...spec('run.scratch', undefined)],
    },
    refused: {
      itself: [...worker(), ...spec('run.scratch.0.path', '/app/datasets')],
      'below it': [...worker(), ...spec('run.scratch.0.path', '/app/datasets/x')],
    },
  },
  {
    rule: 'a model with worker: Redis takes no parameters',
    kind: 'AnalysisModel',
    via: 'create',
    accepted: {
      none: [...worker(), ...WITHOUT_PARAMETERS],
      'an empty list': [...worker(), ...spec('parameters', [])],
    },
    refused: { one: worker() },
  },
];
