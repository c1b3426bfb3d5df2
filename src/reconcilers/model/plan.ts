import type { AnalysisModel } from '../../api/objects.ts';
import type { ModelStatus } from '../../api/model.ts';
import type { Condition } from '../../api/schema.ts';
import { withCondition } from '../../controller/conditions.ts';
import { modelProblem } from '../../jobs/model-check.ts';

/** Whether tasks can use the model, as the one condition Ready. Returns the observed status when nothing changed. */
export function planModel(
  model: AnalysisModel,
  policy: { allowTags: boolean },
  now: Date,
): ModelStatus | undefined {
  const problem = modelProblem(model, policy);
  const observedGeneration = model.metadata.generation;
  const next = problem
    ? {
        type: 'Ready',
        status: 'False' as const,
        reason: problem.reason,
        message: problem.message,
        observedGeneration,
      }
    : {
        type: 'Ready',
        status: 'True' as const,
        reason: 'Ready',
        message: 'Tasks can use this model',
        observedGeneration,
      };
  const before: readonly Condition[] = model.status?.conditions ?? [];
  const conditions = withCondition(before, next, now);
  if (conditions === before && model.status?.observedGeneration === observedGeneration) return model.status;
  return { ...(observedGeneration === undefined ? {} : { observedGeneration }), conditions: [...conditions] };
}
