import { LABEL, ORIGIN_ELSI } from '../api/keys.ts';
import type { AnalysisModel, AnalysisTask } from '../api/objects.ts';
import type { AgentRequest } from '../api/request.ts';
import type { Retried } from '../api/task.ts';

/** Everything that one attempt is made of; parameters are already resolved and checked. */
export interface AttemptInput {
  readonly task: AnalysisTask;
  readonly model: AnalysisModel;
  readonly attempt: number;
  readonly parameters: Readonly<Record<string, string>>;
  /** The task that spec.retryOf names, ended and checked. */
  readonly retried?: Retried | undefined;
}

export function outputNameOf(task: AnalysisTask): string {
  return task.spec.outputName ?? task.metadata.name;
}

/**
 * What may be published once. A task of ELSI keeps its identity when its AnalysisTask is deleted and made anew, so that
 * nothing that was published runs again.
 */
export function identityOf({ metadata: { uid, name, labels = {} } }: AnalysisTask): string {
  const elsiTask = labels[LABEL.origin] === ORIGIN_ELSI ? labels[LABEL.elsiTask] : undefined;
  return elsiTask && name.startsWith(`elsi-${elsiTask}`) ? `elsi:${elsiTask}` : uid;
}

/** Where the results of a task appear, relative to the root of the store. */
export function resultPath(task: AnalysisTask): string {
  return `${task.spec.dataset.path}/outputs/${outputNameOf(task)}`;
}

/** The instructions that the agent finds in the pod. */
export function requestOf(input: AttemptInput, operatorVersion: string): AgentRequest {
  const { task, model } = input;
  const spec = model.spec;
  return {
    schema: 1,
    identity: identityOf(task),
    task: {
      uid: task.metadata.uid,
      name: task.metadata.name,
      namespace: task.metadata.namespace,
      attempt: input.attempt,
      createdAt: task.metadata.creationTimestamp,
    },
    model: { name: model.metadata.name, uid: model.metadata.uid, image: spec.image, version: spec.version },
    run: { per: spec.run.per, command: spec.run.command, worker: spec.run.worker },
    inputs: spec.inputs,
    requires: spec.requires,
    outputs: spec.outputs,
    failure: { maxFailedUnits: spec.failure.maxFailedUnits, exitCodes: spec.failure.exitCodes },
    provenance: spec.provenance,
    dataset: task.spec.dataset,
    outputName: outputNameOf(task),
    parameters: { ...input.parameters },
    tuning: (spec.parameters ?? []).filter((p) => !p.affectsOutput).map(({ name }) => name),
    resume: task.spec.resume,
    ...(input.retried && task.spec.retryOf ? { retryOf: { name: task.spec.retryOf, ...input.retried } } : {}),
    operatorVersion,
  };
}
