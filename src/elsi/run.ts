import { ANNOTATION, API_VERSION, FINALIZER, LABEL, ORIGIN_ELSI } from '../api/keys.ts';
import type { AnalysisTask } from '../api/objects.ts';
import { TASKS } from '../api/resources.ts';
import { taskSpec, type TaskSpecInput } from '../api/task.ts';
import type { Unsaved } from '../controller/client.ts';
import type { KubeObject } from '../controller/resources.ts';
import { datasetUuid, type ElsiTask, shown } from './wire.ts';

/*
 * A task of ELSI is carried out by an AnalysisTask of a name that follows from its uid, so that creating it twice
 * collides. A researcher's retry is a further run, with a name of its own.
 */

/** elsi-<uid> for the first run, elsi-<uid>-r2 for the second. */
export function runName(uid: string, run: number): string {
  return run === 1 ? `elsi-${uid}` : `elsi-${uid}-r${run}`;
}

const RUN_NAME = /^elsi-(?<uid>[0-9a-f-]{36})(-r(?<run>[0-9]{1,6}))?$/;

/** Uid and number of the run that an AnalysisTask carries out; undefined for one that the sync did not make. */
export function runOf({
  metadata,
}: AnalysisTask): { readonly uid: string; readonly run: number } | undefined {
  const { uid, run = '1' } = RUN_NAME.exec(metadata.name)?.groups ?? {};
  if (!uid || metadata.labels?.[LABEL.origin] !== ORIGIN_ELSI) return undefined;
  return metadata.labels[LABEL.elsiTask] === uid ? { uid, run: Number(run) } : undefined;
}

export interface RunSettings {
  readonly namespace: string;
  /** ELSI's name of a model -> name of the AnalysisModel. */
  readonly models: Readonly<Record<string, string>>;
  /** Path of a dataset below the store, with {uuid} and {label}. */
  readonly datasetPath: string;
  readonly queue?: string | undefined;
  readonly priority: TaskSpecInput['priority'];
}

/** An AnalysisTask as this process creates it. */
export type TaskObject = KubeObject & { readonly spec: TaskSpecInput };

export type Desired =
  | { readonly ok: true; readonly object: Unsaved<TaskObject> }
  | { readonly ok: false; readonly problem: string };

/** The AnalysisTask for one run of a task of ELSI, or why there can be none. */
export function desiredRun(task: ElsiTask, run: number, settings: RunSettings): Desired {
  const model = Object.hasOwn(settings.models, task.model) ? settings.models[task.model] : undefined;
  if (!model) {
    const known = Object.keys(settings.models).toSorted((a, b) => a.localeCompare(b));
    const problem = `model_name is ${shown(task.model)}, which the configuration does not map to an AnalysisModel: it maps ${known.join(', ')}`;
    return { ok: false, problem };
  }
  const spec: TaskSpecInput = {
    model,
    dataset: { path: datasetPath(settings.datasetPath, task.datasetLabel) },
    outputName: task.uid,
    priority: settings.priority,
    ...(settings.queue ? { queue: settings.queue } : {}),
  };
  const { error } = taskSpec.safeParse(spec);
  if (error) {
    const why = error.issues.map(({ message }) => message).join('; ');
    return { ok: false, problem: `dataset_uid_label is ${shown(task.datasetLabel)}: ${why}` };
  }
  return { ok: true, object: { ...typeMeta, metadata: metadataOf(task, run, settings.namespace), spec } };
}

const typeMeta = { apiVersion: API_VERSION, kind: TASKS.kind };

function datasetPath(template: string, label: string): string {
  const values: Readonly<Record<string, string>> = { uuid: datasetUuid(label), label };
  return template.replaceAll(/\{(uuid|label)\}/g, (_, name: string) => values[name] ?? '');
}

function metadataOf(task: ElsiTask, run: number, namespace: string) {
  return {
    name: runName(task.uid, run),
    namespace,
    labels: { [LABEL.origin]: ORIGIN_ELSI, [LABEL.elsiTask]: task.uid },
    annotations: {
      [ANNOTATION.elsiDataset]: task.datasetLabel,
      [ANNOTATION.elsiModel]: task.model,
      ...(task.user ? { [ANNOTATION.elsiUser]: task.user } : {}),
    },
    // Held until ELSI shows how it ended: a deleted task must not leave RUNNING behind.
    finalizers: [FINALIZER.elsi],
  };
}
