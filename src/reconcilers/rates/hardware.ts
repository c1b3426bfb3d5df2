import { z } from 'zod';
import type { AnalysisModel } from '../../api/objects.ts';
import type { ResourceClient } from '../../controller/client.ts';
import type { Clock } from '../../controller/clock.ts';
import type { Log } from '../../controller/log.ts';
import type { KubeObject } from '../../controller/resources.ts';
import { NO_GPU } from '../../jobs/rates.ts';

/**
 * Which hardware a model's speed belongs to: the GPU product of the node, which the GPU's own operator puts on it as a
 * label. A hint like the rates themselves: where nodes may not be read, or do not tell, all nodes count as one kind.
 */
export interface Hardware {
  /** Never waits: until the node was read, it is the name of the GPU's resource. */
  peek(gpu: Gpu | undefined, node: string | undefined): string;
  /** Reads the node, if it was not read lately. Never throws. */
  of(gpu: Gpu | undefined, node: string | undefined): Promise<string>;
}

type Gpu = NonNullable<AnalysisModel['spec']['gpu']>;

export interface HardwareDeps {
  readonly nodes: Pick<ResourceClient<KubeObject>, 'get'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
}

const PRODUCT = 'nvidia.com/gpu.product';
const labelled = z.object({ metadata: z.object({ labels: z.record(z.string(), z.string()).default({}) }) });

const READ_TIMEOUT_MS = 5000;
/** A node may come back with another GPU. */
const KNOWN_MS = 3_600_000;
/** It may not be labelled yet, or rights may be given later. */
const UNKNOWN_MS = 600_000;
const MAX_NODES = 5000;

interface Node {
  readonly product: string | undefined;
  readonly readAtMs: number;
}

export function createHardware({ nodes, clock, log }: HardwareDeps): Hardware {
  const known = new Map<string, Node>();
  const reading = new Map<string, Promise<void>>();
  const isFresh = ({ product, readAtMs }: Node): boolean =>
    clock.monotonicMs() - readAtMs < (product ? KNOWN_MS : UNKNOWN_MS);
  const readNode = async (name: string): Promise<void> => {
    const product = await productOf(nodes, name).catch((error: unknown) => {
      log.debug('Cannot read a node; its GPU counts by the name of the resource', { node: name, error });
      return undefined;
    });
    known.delete(name); // a map keeps the place of a key that is set again
    known.set(name, { product, readAtMs: clock.monotonicMs() });
    const [oldest] = known.keys();
    if (oldest !== undefined && known.size > MAX_NODES) known.delete(oldest);
    reading.delete(name);
  };
  const look = (name: string): Promise<void> => {
    const node = known.get(name);
    if (node && isFresh(node)) return Promise.resolve();
    const read = reading.get(name) ?? readNode(name);
    if (!reading.has(name)) reading.set(name, read);
    return read;
  };
  const key = ({ resourceName }: Gpu, node: string): string => known.get(node)?.product ?? resourceName;
  return {
    peek(gpu, node) {
      if (!gpu) return NO_GPU;
      if (!node) return gpu.resourceName;
      void look(node);
      return key(gpu, node);
    },
    async of(gpu, node) {
      if (!gpu) return NO_GPU;
      if (!node) return gpu.resourceName;
      await look(node);
      return key(gpu, node);
    },
  };
}

async function productOf(nodes: HardwareDeps['nodes'], name: string): Promise<string | undefined> {
  const node = await nodes.get({ name }, { timeoutMs: READ_TIMEOUT_MS });
  return node && (labelled.parse(node).metadata.labels[PRODUCT] || undefined);
}
