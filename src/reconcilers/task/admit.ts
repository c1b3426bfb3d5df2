import { mayUse } from '../../api/callbacks.ts';
import type { AnalysisModel } from '../../api/objects.ts';
import { dashProblems } from '../../jobs/argv.ts';
import { easedParameters } from '../../jobs/easing.ts';
import { modelProblem } from '../../jobs/model-check.ts';
import { resolveParameters } from '../../jobs/parameters.ts';
import type { Retried } from '../../api/task.ts';
import type { Observed } from './observed.ts';
import { checkRetried } from './retried.ts';

/** Whether an attempt may start now. */
export type Admission =
  | {
      readonly verdict: 'start';
      readonly model: AnalysisModel;
      readonly parameters: Readonly<Record<string, string>>;
      /** What this attempt does differently, for people: " with batchSize 8"; usually empty. */
      readonly change: string;
      readonly retried: Retried | undefined;
    }
  /** The task that retryOf names has to be read first. */
  | { readonly verdict: 'read' }
  | {
      readonly verdict: 'wait';
      readonly reason: string;
      readonly message: string;
      readonly retried?: Retried | undefined;
    }
  | { readonly verdict: 'refuse'; readonly category: 'InvalidInput' | 'ModelGone'; readonly message: string };

/** The checks in order; the first that objects decides. */
export function admit(seen: Observed): Admission {
  const found = findModel(seen);
  if ('verdict' in found) return found;
  const problems = requestProblems(seen);
  if (problems.length > 0) return refuse(problems.join('; '));
  const { spec } = found.model;
  const resolved = resolveParameters(spec.parameters ?? [], seen.task.spec.parameters ?? {});
  if (!resolved.ok) return refuse(resolved.problems.join('; '));
  const dashes = dashProblems(spec.run.command ?? [], resolved.values, spec.parameters ?? []);
  if (dashes.length > 0) return refuse(dashes.join('; '));
  const retry = checkRetried(seen, { model: found.model, parameters: resolved.values });
  if (retry.verdict === 'refuse') return refuse(retry.message);
  if (retry.verdict !== 'go') return retry;
  const { retried } = retry;
  if (seen.storeProblem)
    return { verdict: 'wait', reason: 'VolumeNotReady', message: seen.storeProblem, retried };
  return { verdict: 'start', model: found.model, retried, ...valuesNow(seen, found.model, resolved.values) };
}

/** The values of this attempt, and in what it differs from the task. */
function valuesNow(
  seen: Observed,
  model: AnalysisModel,
  values: Readonly<Record<string, string>>,
): Pick<Extract<Admission, { verdict: 'start' }>, 'parameters' | 'change'> {
  const parameters = easedParameters(values, model.spec.parameters ?? [], shortages(seen));
  const changed = Object.entries(parameters).filter(([name, value]) => values[name] !== value);
  const change = changed.length === 0 ? '' : ` with ${changed.map((entry) => entry.join(' ')).join(', ')}`;
  return { parameters, change };
}

/** Attempts that ran out of memory; the status keeps the last five failures, which is as far as easing goes. */
function shortages({ task }: Observed): number {
  return (task.status?.failures ?? []).filter(({ category }) => category === 'OutOfMemory').length;
}

function findModel(seen: Observed): { model: AnalysisModel } | Admission {
  const name = seen.task.spec.model;
  const bound = seen.task.status?.model;
  if (bound && (!seen.model || uidOf(seen.model) !== bound.uid)) {
    const what = seen.model ? 'was replaced by another object of the same name' : 'was deleted';
    return {
      verdict: 'refuse',
      category: 'ModelGone',
      message: `AnalysisModel "${name}" ${what} after the task had started; create a new task`,
    };
  }
  if (!seen.model) {
    return {
      verdict: 'wait',
      reason: 'ModelNotFound',
      message: `AnalysisModel "${name}" does not exist: see kubectl get analysismodels, or ask an administrator to add it`,
    };
  }
  if (!seen.model.ok) {
    return {
      verdict: 'wait',
      reason: 'ModelInvalid',
      message: `AnalysisModel "${name}" is malformed and must be created again by an administrator: ${seen.model.problem}`,
    };
  }
  const problem = modelProblem(seen.model.model, seen.policy);
  if (problem)
    return {
      verdict: 'wait',
      reason: problem.reason,
      message: `AnalysisModel "${name}": ${problem.message}`,
    };
  return { model: seen.model.model };
}

function uidOf(model: NonNullable<Observed['model']>): string {
  return model.ok ? model.model.metadata.uid : model.uid;
}

function requestProblems({ task, policy }: Observed): string[] {
  const segments = [task.spec.dataset.path, task.spec.dataset.directory ?? ''].flatMap((path) =>
    path.split('/'),
  );
  const long = segments.filter((segment) => Buffer.byteLength(segment) > 255);
  return [
    ...callbackProblems(task, policy),
    ...long.map(() => 'dataset.path has a segment of more than 255 bytes, which no file system can hold'),
  ];
}

function callbackProblems({ spec, metadata }: Observed['task'], { callbacks }: Observed['policy']): string[] {
  const usable = Object.entries(callbacks)
    .filter(([, endpoint]) => mayUse(endpoint, metadata.namespace))
    .map(([name]) => name);
  const choice =
    usable.length > 0
      ? `the administrator configured ${usable.join(', ')} for this namespace`
      : 'the administrator configured none for this namespace';
  return (spec.callbacks ?? [])
    .filter((name) => !usable.includes(name))
    .map((name) => `callbacks names the endpoint "${name}", which this task may not use: ${choice}`);
}

function refuse(message: string): Admission {
  return { verdict: 'refuse', category: 'InvalidInput', message };
}
