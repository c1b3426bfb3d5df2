import { stringify } from 'yaml';
import type { AgentRequest } from '../api/request.ts';

/**
 * metannots.yml: ChildProject's description of a set of annotations. Only what is known to be true is written; keys
 * that describe the content (has_speaker_type and the like) are for whoever imports the set.
 */
export function metannots(request: AgentRequest, finishedAt: Date): string {
  const { model, provenance, task } = request;
  const byHand = provenance?.method === 'manual' || provenance?.method === 'citizen-scientists';
  const algorithm = {
    annotation_algorithm_name: provenance?.annotatorName ?? model.name,
    ...optional('annotation_algorithm_publication', provenance?.citation),
    annotation_algorithm_version: model.version,
    ...optional('annotation_algorithm_repo', provenance?.homepage),
  };
  return stringify({
    segmentation: model.name,
    method: provenance?.method ?? 'automated',
    ...(byHand ? optional('annotator_name', provenance.annotatorName) : algorithm),
    date_annotation: finishedAt.toISOString().slice(0, 10),
    ...optional('licence', provenance?.licence),
    analysis_image: model.image,
    analysis_task: `${task.namespace}/${task.name}`,
    analysis_task_uid: task.uid,
    analysis_operator_version: request.operatorVersion,
  });
}

function optional(key: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [key]: value };
}
