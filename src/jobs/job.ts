import type { IJob } from 'kubernetes-models/batch/v1';
import { ANNOTATION, API_VERSION, CONTAINER, LABEL } from '../api/keys.ts';
import { EXIT } from '../api/request.ts';
import type { AnalysisTask } from '../api/objects.ts';
import type { JobDefaults } from './defaults.ts';
import { jobName } from './names.ts';
import { podTemplate, taskLabels } from './pod.ts';
import type { AttemptInput } from './request.ts';

const AGENT_CODES = Object.values(EXIT).filter((code) => code !== EXIT.ok);

/**
 * One Job is one pod is one attempt. FailJob (not Ignore) on disruption, because Ignore would replace pods without
 * limit, and because FailJob leaves the evidence in the Job's condition after the pod is gone.
 */
export function desiredJob(input: AttemptInput, defaults: JobDefaults): IJob {
  const { task, attempt } = input;
  const queue = task.spec.queue ? { [LABEL.kueueQueue]: task.spec.queue } : {};
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: jobName(task.metadata, attempt),
      namespace: task.metadata.namespace,
      labels: { ...taskLabels(input), ...queue },
      annotations: { [ANNOTATION.task]: task.metadata.name, [ANNOTATION.attempt]: String(attempt) },
      ownerReferences: [ownedBy(task)],
    },
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      podReplacementPolicy: 'Failed',
      podFailurePolicy: {
        rules: [
          { action: 'FailJob', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          ...[CONTAINER.prepare, CONTAINER.publish].map((containerName) => ({
            action: 'FailJob' as const,
            onExitCodes: { containerName, operator: 'In' as const, values: AGENT_CODES },
          })),
        ],
      },
      template: podTemplate(input, defaults),
    },
  };
}

function ownedBy(task: AnalysisTask) {
  return {
    apiVersion: API_VERSION,
    kind: 'AnalysisTask',
    name: task.metadata.name,
    uid: task.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}
