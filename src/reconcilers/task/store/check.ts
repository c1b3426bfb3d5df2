import { type AgentRequest } from '../../../api/request.ts';
import type { SurveyAnswer } from '../../../api/store.ts';
import type { ModelSpec } from '../../../api/model.ts';
import { requestOf } from '../../../jobs/request.ts';
import { formatSize } from '../../../lib/size.ts';
import type { Admission } from '../admit.ts';
import { numberOfNext } from '../attempt.ts';
import type { Observed } from '../observed.ts';

export type StoreVerdict =
  | { readonly verdict: 'start' }
  /** Read the store first; the question is what the next attempt's pod would get. */
  | { readonly verdict: 'ask'; readonly question: AgentRequest }
  | { readonly verdict: 'pause'; readonly ms: number }
  | {
      readonly verdict: 'wait';
      readonly reason: string;
      readonly message: string;
      readonly recheckMs: number;
    }
  | { readonly verdict: 'refuse'; readonly category: string; readonly message: string };

const START: StoreVerdict = { verdict: 'start' };
/** The answer brings the key back; this is the safety net. */
const ASKED_RECHECK_MS = 5000;
/** A file takes at least a block, so that a full volume refuses the smallest task. */
const LEAST_OUTPUT_BYTES = 4096;

/** Whether the store lets an admitted attempt start. */
export function storeVerdict(
  seen: Observed,
  admission: Extract<Admission, { verdict: 'start' }>,
): StoreVerdict {
  const { store, task } = seen;
  // A claim that is out already is carried out: its Job may exist by the time an answer comes.
  if (task.status?.attempt && !task.status.nextAttemptAt) return START;
  if (!store) {
    const attempt = numberOfNext(task.status);
    return {
      verdict: 'ask',
      question: requestOf({ task, attempt, ...admission }, seen.defaults.operatorVersion),
    };
  }
  if (store.is === 'unknown') return START;
  if (store.is === 'asked') return { verdict: 'pause', ms: ASKED_RECHECK_MS };
  return judge(store.answer, admission.model.spec, store.recheckMs);
}

function judge(answer: SurveyAnswer, spec: ModelSpec, recheckMs: number): StoreVerdict {
  const { verdict, message } = answer;
  switch (verdict) {
    case 'RequirementsMissing':
      return { verdict: 'wait', reason: 'RequirementsMissing', message, recheckMs };
    case 'Refused':
      return { verdict: 'refuse', category: answer.category ?? 'InvalidInput', message };
    case 'Published': // The pod answers with the result and does not run the model.
      return START;
    case 'Ready':
      return judgeSpace(answer, spec, recheckMs);
  }
}

function judgeSpace({ effort, space }: SurveyAnswer, spec: ModelSpec, recheckMs: number): StoreVerdict {
  if (!effort || !space || space.totalBytes === 0) return START; // the file system does not tell
  const needed = estimatedBytes(effort, spec);
  if (needed <= space.freeBytes) return START;
  const what = `The outputs of ${effort.units} units need about ${formatSize(needed)}`;
  if (needed > space.totalBytes)
    return {
      verdict: 'refuse',
      category: 'InsufficientSpace',
      message: `${what}, more than the whole volume holds (${formatSize(space.totalBytes)}): ask the administrator to enlarge it, or analyse a smaller directory`,
    };
  return {
    verdict: 'wait',
    reason: 'InsufficientSpace',
    message: `${what}, but the volume has ${formatSize(space.freeBytes)} free: free space, or ask the administrator to enlarge it`,
    recheckMs,
  };
}

function estimatedBytes(effort: NonNullable<SurveyAnswer['effort']>, spec: ModelSpec): number {
  const { perUnit = 0, perAudioSecond = 0 } = spec.outputBytes ?? {};
  // One run over a dataset may write a single file for all its recordings.
  const runs = spec.run.per === 'Dataset' ? 1 : effort.units;
  const least = runs * spec.outputs.length * LEAST_OUTPUT_BYTES;
  return Math.max(least, effort.units * perUnit + effort.audioSeconds * perAudioSecond);
}
