import { isDeepStrictEqual } from 'node:util';
import type { AnalysisModel } from '../../api/objects.ts';
import type { LearntRate, ModelStatus } from '../../api/model.ts';
import type { Condition } from '../../api/schema.ts';
import { withCondition } from '../../controller/conditions.ts';
import { modelProblem } from '../../jobs/model-check.ts';
import { type RateSample, withSamples } from '../../jobs/rates.ts';

/** What a decision about a model may look at. */
export interface ModelObserved {
  readonly model: AnalysisModel;
  readonly policy: { readonly allowTags: boolean };
  /** What finished attempts took; counted by this plan. */
  readonly samples: readonly RateSample[];
  readonly now: Date;
}

/** Whether tasks can use the model, and how fast it is. Returns the observed status when nothing changed. */
export function planModel({ model, policy, samples, now }: ModelObserved): ModelStatus | undefined {
  const { status, metadata } = model;
  const { generation } = metadata;
  const ready = { ...readiness(model, policy), type: 'Ready', observedGeneration: generation };
  const rates = withSamples(status?.rates ?? [], samples, now);
  const next: ModelStatus = {
    ...status,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: [...withCondition(status?.conditions ?? [], ready, now)],
    ...(rates.length > 0 ? { rates: [...rates] } : {}),
  };
  return isDeepStrictEqual(next, status) ? status : next;
}

function readiness(
  model: AnalysisModel,
  policy: ModelObserved['policy'],
): Pick<Condition, 'status' | 'reason' | 'message'> {
  const problem = modelProblem(model, policy);
  if (problem) return { status: 'False', reason: problem.reason, message: problem.message };
  return { status: 'True', reason: 'Ready', message: 'Tasks can use this model' };
}

/** Rates are hints: however many attempts end, they are written this seldom per model. */
const RATES_PAUSE_MS = 60_000;

/** Milliseconds until rates may be written again. The last write says so itself, so a restart changes nothing. */
export function ratesPauseMs(rates: readonly LearntRate[], now: Date): number {
  const written = rates.map(({ updatedAt }) => Date.parse(updatedAt)).filter(Number.isFinite);
  const left = Math.max(0, ...written) + RATES_PAUSE_MS - now.getTime();
  // Longer than any pause: a clock was wrong then.
  return left > RATES_PAUSE_MS ? 0 : Math.max(0, left);
}
