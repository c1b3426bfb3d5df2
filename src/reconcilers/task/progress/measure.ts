import { CONTAINER } from '../../../api/keys.ts';
import type { Outcome } from '../../../jobs/outcome.ts';
import type { PodView } from '../../../jobs/views.ts';
import type { Measured } from '../../rates/rate-book.ts';
import type { Observed } from '../observed.ts';

/** kubelet tells times in whole seconds: shorter runs would teach its rounding. */
const SHORTEST_SECONDS = 5;
/** A unit that fails may end at once: with more of them than this, the time says little. */
const FAILED_SHARE = 0.1;

/**
 * What the attempt took, from the work that publish reports and the time that kubelet measured. Undefined when either
 * is missing or not the whole truth: a container that started twice shows the time of its last run alone.
 */
export function measuredBy(
  { task }: Observed,
  { pod, report }: Extract<Outcome, { is: 'succeeded' }>,
): Measured | undefined {
  const work = report?.work;
  const uid = task.status?.model?.uid;
  if (!pod || !work || !uid || work.done <= 0 || work.failed > work.done * FAILED_SHARE) return undefined;
  const seconds = modelSeconds(pod);
  if (seconds === undefined || seconds < SHORTEST_SECONDS) return undefined;
  const model = { name: task.spec.model, uid };
  return { model, node: pod.node, effort: work.effort, amount: work.done, seconds };
}

function modelSeconds({ containers }: PodView): number | undefined {
  const { state, restartCount = 0 } = containers.find(({ name }) => name === CONTAINER.model) ?? {};
  const { startedAt, finishedAt } = state?.terminated ?? {};
  if (!startedAt || !finishedAt || restartCount > 0) return undefined;
  const seconds = (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
  return Number.isFinite(seconds) ? seconds : undefined;
}
