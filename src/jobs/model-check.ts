import type { AnalysisModel } from '../api/objects.ts';

export interface ModelProblem {
  readonly reason: 'ImageNotPinned';
  readonly message: string;
}

/** What keeps a valid AnalysisModel from being used under this operator's configuration. */
export function modelProblem(model: AnalysisModel, policy: { allowTags: boolean }): ModelProblem | undefined {
  if (policy.allowTags || model.spec.image.includes('@sha256:')) return undefined;
  return {
    reason: 'ImageNotPinned',
    message: `spec.image is "${model.spec.image}", a tag that can change: name it by digest (image@sha256:...) or install the operator with allowTags`,
  };
}
