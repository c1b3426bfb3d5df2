import { MODELS } from '../../api/resources.ts';
import { isConflict, UnreachableError } from '../../controller/api-error.ts';
import { resourceClient } from '../../controller/client.ts';
import { type Reconcile, runController } from '../../controller/controller.ts';
import type { Leading } from '../../controller/fence.ts';
import type { Informer } from '../../controller/informer.ts';
import type { Log } from '../../controller/log.ts';
import type { Metrics } from '../../controller/metrics.ts';
import { KeyedQueue } from '../../controller/queue.ts';
import type { KubeObject } from '../../controller/resources.ts';
import { writeStatus } from '../../controller/status-writer.ts';
import type { Transport } from '../../controller/transport.ts';
import type { AnalysisModel } from '../../api/objects.ts';
import type { ModelEntry } from '../../api/seen.ts';
import type { RateSample } from '../../jobs/rates.ts';
import type { Hardware } from '../rates/hardware.ts';
import type { Measured, RateBook } from '../rates/rate-book.ts';
import { createWrittenVersions } from '../../controller/written.ts';
import { type ModelObserved, planModel, ratesPauseMs } from './plan.ts';

export interface ModelControllerOptions {
  readonly models: Informer<ModelEntry>;
  readonly policy: ModelObserved['policy'];
  /** What the attempts of tasks took. */
  readonly rates: RateBook;
  readonly hardware: Hardware;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Keeps the condition Ready of every AnalysisModel true, and what was learnt about its speed. */
export function createModelController(
  options: ModelControllerOptions,
): (leading: Leading, signal: AbortSignal) => Promise<void> {
  const { models, rates, log, metrics } = options;
  const queue = new KeyedQueue({ metrics: metrics.queue('analysismodel') });
  models.onChange((_type, { metadata }) => queue.add(metadata.name));
  rates.onNote((model) => queue.add(model));
  return ({ lost, transport }, signal) => {
    const reconcile = reconcileModel(options, transport);
    const settings = { name: 'analysismodel', queue, workers: 2, log, metrics };
    return runController({ ...settings, reconcile, fence: lost }, signal);
  };
}

/** The watch brings the newer copy and the key with it; this is only the safety net. */
const STALE_RECHECK_MS = 1000;

function reconcileModel(options: ModelControllerOptions, transport: Transport): Reconcile {
  const { models, rates, log } = options;
  const client = resourceClient<KubeObject & { status?: unknown }>(transport, MODELS);
  const written = createWrittenVersions();
  return async (name, signal) => {
    const seen = models.get(name)?.seen;
    if (!seen?.ok) {
      // The server would refuse any write to an object that its schema refuses; the model's tasks say what is wrong.
      if (seen) log.warn('Malformed AnalysisModel', { model: name, problem: seen.problem });
      rates.take(name);
      return {};
    }
    const { model } = seen;
    if (written.isStale(model)) return { requeueAfterMs: STALE_RECHECK_MS };
    const pauseMs = ratesPauseMs(model.status?.rates ?? [], transport.now());
    const measured = pauseMs > 0 ? [] : rates.take(name);
    const samples = await samplesOf(options, model, measured);
    const status = planModel({ model, policy: options.policy, samples, now: transport.now() });
    try {
      written.note(await writeStatus(client, model, status, { signal }));
    } catch (error) {
      if (wasNotDone(error)) rates.giveBack(name, measured);
      throw error;
    }
    return rates.waits(name) ? { requeueAfterMs: pauseMs } : {};
  };
}

/** Any other failure may hide a write that was done: then nothing may be counted again. */
function wasNotDone(error: unknown): boolean {
  return isConflict(error) || error instanceof UnreachableError;
}

/** What was measured, with the hardware that it was measured on. Another model of the same name teaches nothing. */
function samplesOf(
  { hardware }: Pick<ModelControllerOptions, 'hardware'>,
  { metadata, spec }: AnalysisModel,
  measured: readonly Measured[],
): Promise<RateSample[]> {
  return Promise.all(
    measured
      .filter(({ model }) => model.uid === metadata.uid)
      .map(async ({ node, effort, amount, seconds }) => ({
        gpu: await hardware.of(spec.gpu, node),
        effort,
        amount,
        seconds,
      })),
  );
}
