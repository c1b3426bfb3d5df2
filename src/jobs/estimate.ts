import type { ProgressReport } from '../api/request.ts';
import { type Pace, SPREAD, unitsOf } from './rates.ts';

export type Work = NonNullable<ProgressReport['work']>;

/** The attempt's own pace stands alone after this share of its effort, or this long. */
const TELLING_SHARE = 0.2;
const TELLING_SECONDS = 600;
/** A unit that takes longer than expected is expected to take this share of its time longer still. */
const LATE = { p50: 0.1, p90: 0.5 };

/**
 * Seconds that an attempt still takes: at first what is known about the model (`known`), later more and more its own
 * pace. `elapsedSeconds` is how long its model runs. Undefined when nothing tells.
 */
export function secondsLeft(work: Work, elapsedSeconds: number, known: Pace | undefined): Pace | undefined {
  if (work.left <= 0) return { p50: 0, p90: 0 };
  const since = Math.min(work.sinceSeconds, elapsedSeconds);
  const pace = blend(known, ownPace(work, elapsedSeconds - since));
  if (!pace) return undefined;
  const left = unitsOf(work.effort, work.left);
  const p50 = Math.max(left * pace.p50 - since, LATE.p50 * since);
  return { p50, p90: Math.max(p50, left * pace.p90 - since, LATE.p90 * since) };
}

interface OwnPace extends Pace {
  /** From 0, worth nothing, to 1, worth more than anything else. */
  readonly weight: number;
}

/** By the units that ended, and the time until the last one did: what the running unit took so far says nothing yet. */
function ownPace({ effort, done, left }: Work, workedSeconds: number): OwnPace | undefined {
  if (done <= 0 || workedSeconds <= 0) return undefined;
  const share = done / (done + left);
  const p50 = workedSeconds / unitsOf(effort, done);
  const spread = SPREAD ** Math.sqrt(1 - share);
  return {
    p50,
    p90: p50 * spread,
    weight: Math.min(1, Math.max(share / TELLING_SHARE, workedSeconds / TELLING_SECONDS)),
  };
}

/** Paces differ by factors, so their logarithms are averaged. */
function blend(known: Pace | undefined, own: OwnPace | undefined): Pace | undefined {
  if (!known || !own) return own ?? known;
  const mean = (a: number, b: number): number => a ** (1 - own.weight) * b ** own.weight;
  return { p50: mean(known.p50, own.p50), p90: mean(known.p90, own.p90) };
}
