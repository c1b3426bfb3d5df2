/** May the units that an earlier task finished be used? Pure; decided once, then bound in the status. */
import type { AnalysisModel, AnalysisTask } from '../../api/objects.ts';
import { isTerminal, type Retried } from '../../api/task.ts';
import { identityOf, outputNameOf } from '../../jobs/request.ts';
import type { Observed } from './observed.ts';

/** What the API server said of the task that spec.retryOf names: undefined is absence, which is a fact then. */
export interface RetriedSeen {
  readonly task: AnalysisTask | undefined;
}

export type RetryCheck =
  /** `retried` is undefined for a task that retries none. */
  | { readonly verdict: 'go'; readonly retried: Retried | undefined }
  | { readonly verdict: 'read' }
  | { readonly verdict: 'wait'; readonly reason: string; readonly message: string }
  | { readonly verdict: 'refuse'; readonly message: string };

interface Wanted {
  readonly model: AnalysisModel;
  /** Resolved. */
  readonly parameters: Readonly<Record<string, string>>;
}

const INSTEAD = 'or leave retryOf out to run the whole task';

/**
 * Whatever was bound once counts, even when the retried task is gone since: its results are on the volume, and there
 * every unit is checked again.
 */
export function checkRetried({ task, retried }: Observed, wanted: Wanted): RetryCheck {
  const name = task.spec.retryOf;
  if (name === undefined) return { verdict: 'go', retried: undefined };
  if (task.status?.retryOf) return { verdict: 'go', retried: task.status.retryOf };
  const fixed = fixedProblem(task, name, wanted);
  if (fixed) return { verdict: 'refuse', message: fixed };
  if (!retried) return { verdict: 'read' };
  const earlier = retried.task;
  if (!earlier) {
    const message = `retryOf names task "${name}", which does not exist in namespace "${task.metadata.namespace}": see kubectl get analysistasks, ${INSTEAD}`;
    return { verdict: 'refuse', message };
  }
  const problems = differences(task, earlier, wanted);
  if (problems.length > 0) return { verdict: 'refuse', message: problems.join('; ') };
  return isTerminal(earlier.status?.phase)
    ? { verdict: 'go', retried: factsOf(earlier) }
    : notEnded(name, earlier);
}

/** What is wrong whatever the named task is like. */
function fixedProblem(task: AnalysisTask, name: string, { model }: Wanted): string | undefined {
  if (name === task.metadata.name) return `retryOf is "${name}", the task itself: name an earlier task`;
  if (model.spec.run.per !== 'Dataset') return undefined;
  return `retryOf is "${name}", but model ${model.metadata.name} analyses the dataset in one run, of which no part can be repeated: leave retryOf out`;
}

function notEnded(name: string, { status }: AnalysisTask): RetryCheck {
  const message = `retryOf names task "${name}", which has not ended (${status?.phase ?? 'Pending'}): this task starts when it has; cancel that one with desired: Cancel to go on now`;
  return { verdict: 'wait', reason: 'RetriedTaskNotEnded', message };
}

/** Everything in which the two differ although results depend on it. */
function differences(task: AnalysisTask, earlier: AnalysisTask, wanted: Wanted): string[] {
  const fields = [
    difference('model', task.spec.model, earlier.spec.model),
    difference('dataset.path', task.spec.dataset.path, earlier.spec.dataset.path),
  ].flatMap((problem) => problem ?? []);
  const found =
    fields.length > 0 ? fields : [...parameterDifferences(earlier, wanted), ...replaced(earlier, wanted)];
  const problems = found.map((problem) => `retryOf names task "${earlier.metadata.name}", but ${problem}`);
  return [...problems, ...samePlace(task, earlier)];
}

function difference(field: string, here: string, there: string): string | undefined {
  if (here === there) return undefined;
  return `${field} is ${JSON.stringify(here)} here and ${JSON.stringify(there)} there: use the same, ${INSTEAD}`;
}

function parameterDifferences({ spec }: AnalysisTask, { model, parameters }: Wanted): string[] {
  const relevant = (model.spec.parameters ?? []).filter(({ affectsOutput }) => affectsOutput);
  return relevant.flatMap(({ name, default: usual }) => {
    const there = spec.parameters?.[name] ?? usual ?? '';
    return difference(`parameters.${name}`, parameters[name] ?? '', there) ?? [];
  });
}

function replaced({ status }: AnalysisTask, { model }: Wanted): string[] {
  if (!status?.model || status.model.uid === model.metadata.uid) return [];
  return [
    `AnalysisModel "${model.metadata.name}" was replaced by another object of that name since: leave retryOf out to run the whole task`,
  ];
}

function samePlace(task: AnalysisTask, earlier: AnalysisTask): string[] {
  const place = outputNameOf(task);
  if (!earlier.status?.result || place !== outputNameOf(earlier)) return [];
  return [`outputName is "${place}", where task "${earlier.metadata.name}" has published: choose another`];
}

/** From the status that the operator wrote; outputName is immutable. */
function factsOf(earlier: AnalysisTask): Retried {
  const { result } = earlier.status ?? {};
  return {
    uid: earlier.metadata.uid,
    identity: identityOf(earlier),
    ...(result ? { outputName: outputNameOf(earlier) } : {}),
    ...(result?.manifestSha256 ? { manifestSha256: result.manifestSha256 } : {}),
  };
}
