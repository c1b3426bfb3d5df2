import { MODELS } from '../../api/resources.ts';
import { resourceClient } from '../../controller/client.ts';
import { runController } from '../../controller/controller.ts';
import type { Leading } from '../../controller/fence.ts';
import type { Informer } from '../../controller/informer.ts';
import type { Log } from '../../controller/log.ts';
import type { Metrics } from '../../controller/metrics.ts';
import { KeyedQueue } from '../../controller/queue.ts';
import type { KubeObject } from '../../controller/resources.ts';
import { writeStatus } from '../../controller/status-writer.ts';
import type { Transport } from '../../controller/transport.ts';
import type { ModelEntry } from '../../api/seen.ts';
import { planModel } from './plan.ts';

export interface ModelControllerOptions {
  readonly models: Informer<ModelEntry>;
  readonly policy: { readonly allowTags: boolean };
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Keeps the condition Ready of every AnalysisModel true. */
export function createModelController(
  options: ModelControllerOptions,
): (leading: Leading, signal: AbortSignal) => Promise<void> {
  const { models, policy, log, metrics } = options;
  const queue = new KeyedQueue({ metrics: metrics.queue('analysismodel') });
  models.onChange((_type, { metadata }) => queue.add(metadata.name));
  const reconcileWith = (leader: Transport) => async (name: string, signal: AbortSignal) => {
    const entry = models.get(name);
    if (!entry) return {};
    if (!entry.seen.ok) {
      // The server would refuse any write to an object that its schema refuses; the model's tasks say what is wrong.
      log.warn('Malformed AnalysisModel', { model: name, problem: entry.seen.problem });
      return {};
    }
    const { model } = entry.seen;
    const client = resourceClient<KubeObject & { status?: unknown }>(leader, MODELS);
    await writeStatus(client, model, planModel(model, policy, leader.now()), { signal });
    return {};
  };
  return ({ lost, transport }, signal) => {
    const reconcile = reconcileWith(transport);
    const settings = { name: 'analysismodel', queue, workers: 2, log, metrics };
    return runController({ ...settings, reconcile, fence: lost }, signal);
  };
}
