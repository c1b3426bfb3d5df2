import type { IPodSpec } from 'kubernetes-models/v1';
import type { ModelSpec } from '../api/model.ts';

type Resources = NonNullable<IPodSpec['containers'][number]['resources']>;

/** A small nursery (MiB): V8 would let short-lived objects of a large plan take three times what is really used. */
export const AGENT_NODE_OPTIONS = '--max-semi-space-size=4';

/**
 * A plan of 100 000 files stays below 200 MiB (`make bench ARGS="plan"`); the limit leaves room for many more.
 * Requests stay small because the pod holds its node for the model, not for the agent.
 */
export function agentResources(step: 'prepare' | 'publish' | 'observe'): Resources {
  const memory = step === 'observe' ? '64Mi' : '128Mi';
  return { requests: { cpu: '50m', memory }, limits: { memory: '768Mi' } };
}

/** Memory request equals limit, so a model is never killed because its neighbour grew. */
export function modelResources({ resources, gpu }: Pick<ModelSpec, 'resources' | 'gpu'>): Resources {
  const extended = gpu ? { [gpu.resourceName]: String(gpu.count) } : {};
  const disk = resources.ephemeralStorage ? { 'ephemeral-storage': resources.ephemeralStorage } : {};
  return {
    requests: { cpu: resources.cpu, memory: resources.memory, ...disk, ...extended },
    limits: {
      ...(resources.cpuLimit ? { cpu: resources.cpuLimit } : {}),
      memory: resources.memory,
      ...disk,
      ...extended,
    },
  };
}
