import type { Effort } from '../api/effort.ts';
import { type LearntRate, MAX_RATES } from '../api/model.ts';

/**
 * How fast a model is, learnt from finished attempts. What is averaged is the logarithm of work seconds per unit of
 * effort, because runs differ by factors: a running mean at first, an exponential average later. p90 follows from the
 * variance, averaged the same way. Two numbers per kind of hardware are all that is kept, and both are for people.
 */

/** Work seconds per unit of effort. */
export interface Pace {
  readonly p50: number;
  readonly p90: number;
}

/** What one finished attempt teaches. */
export interface RateSample {
  /** Key of the hardware, as in LearntRate. */
  readonly gpu: string;
  readonly effort: Effort;
  /** In bytes, or in seconds of audio or of annotated segments. */
  readonly amount: number;
  /** What the model's container took for it. */
  readonly seconds: number;
}

/** Key of models that use no GPU. */
export const NO_GPU = 'None';

/** Rates are per second of audio, or per million bytes: numbers that people can read. */
const UNIT: Readonly<Record<Effort, number>> = { Bytes: 1e6, AudioSeconds: 1, AnnotatedSeconds: 1 };

/** Standard deviations between p50 and p90 of a normal distribution. */
const Z90 = 1.2816;
/** The share that a sample has once there are many. */
const SHARE = 0.2;
/** How far apart p50 and p90 are while one run is all that is known. */
export const SPREAD = 1.5;
/** A factor that no hardware explains; it also keeps every average a finite number. */
const FASTEST = 1e-9;
const SLOWEST = 1e9;
const MAX_SPREAD = 100;

/** Amount in units of rates. */
export function unitsOf(effort: Effort, amount: number): number {
  return amount / UNIT[effort];
}

/** The rates with what the samples teach, the latest first. Returns `rates` itself when they teach nothing. */
export function withSamples(
  rates: readonly LearntRate[],
  samples: readonly RateSample[],
  now: Date,
): readonly LearntRate[] {
  return samples.reduce((known, sample) => withSample(known, sample, now), rates);
}

function withSample(rates: readonly LearntRate[], sample: RateSample, now: Date): readonly LearntRate[] {
  const measured = sample.seconds / unitsOf(sample.effort, sample.amount);
  if (!Number.isFinite(measured) || measured <= 0) return rates;
  const before = rates.find(({ gpu, effort }) => gpu === sample.gpu && effort === sample.effort);
  const samples = (before?.samples ?? 0) + 1;
  const pace = learn(before, clamp(measured, FASTEST, SLOWEST));
  const rate: LearntRate = {
    gpu: sample.gpu,
    effort: sample.effort,
    ...pace,
    samples,
    summary: summaryOf(sample.effort, pace.p50),
    updatedAt: now.toISOString(),
  };
  return [rate, ...rates.filter(({ gpu }) => gpu !== sample.gpu)].slice(0, MAX_RATES);
}

function learn(before: LearntRate | undefined, measured: number): Pace {
  const known = before && sound(before);
  if (!before || !known) return rounded(measured, measured * SPREAD);
  const share = Math.max(SHARE, 1 / (before.samples + 1));
  const difference = Math.log(measured / known.p50);
  const p50 = clamp(known.p50 * Math.exp(share * difference), FASTEST, SLOWEST);
  const deviation = Math.log(known.p90 / known.p50) / Z90;
  const variance = (1 - share) * (deviation ** 2 + share * difference ** 2);
  const spread = Math.min(MAX_SPREAD, Math.exp(Z90 * Math.sqrt(variance)));
  return rounded(p50, p50 * spread);
}

/** What stands in a status may have been written by anybody. */
function sound({ p50, p90 }: Pace): Pace | undefined {
  if (!Number.isFinite(p50) || !Number.isFinite(p90) || p50 <= 0) return undefined;
  return { p50, p90: Math.max(p50, p90) };
}

function rounded(p50: number, p90: number): Pace {
  const middle = digits(p50);
  return { p50: middle, p90: Math.max(middle, digits(p90)) };
}

const digits = (value: number): number => Number(value.toPrecision(6));
const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

/**
 * What is known about the speed on this hardware: learnt there, else learnt last on other hardware, else the guess of
 * the catalogue, which is per second of audio. Undefined when nothing is known.
 */
export function paceFor(
  model: { readonly rates: readonly LearntRate[]; readonly guess: number | undefined },
  effort: Effort,
  gpu: string,
): Pace | undefined {
  const known = model.rates.filter((rate) => rate.effort === effort && sound(rate));
  const learnt = known.find((rate) => rate.gpu === gpu) ?? known[0];
  if (learnt) return sound(learnt);
  if (effort !== 'AudioSeconds' || model.guess === undefined || model.guess <= 0) return undefined;
  return { p50: model.guess, p90: model.guess * SPREAD };
}

/** A sum that people can imagine: how long an hour of audio takes, or a gigabyte. */
const EXAMPLE: Readonly<Record<Effort, { readonly units: number; readonly name: string }>> = {
  Bytes: { units: 1000, name: '1 GB' },
  AudioSeconds: { units: 3600, name: '1 h of audio' },
  AnnotatedSeconds: { units: 3600, name: '1 h of segments' },
};

function summaryOf(effort: Effort, p50: number): string {
  const { units, name } = EXAMPLE[effort];
  return `${name} in ${duration(units * p50)}`;
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < 3600) return `${(seconds / 60).toPrecision(2)} min`;
  return `${Number((seconds / 3600).toPrecision(2))} h`;
}
