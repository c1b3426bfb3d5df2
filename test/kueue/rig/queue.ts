import { z } from 'zod';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import type { World } from '../../faults/rig/world.ts';

const API_VERSION = 'kueue.x-k8s.io/v1beta2';
const API = `/apis/${API_VERSION}`;
const MERGE = 'application/merge-patch+json';

/** One GPU behind one LocalQueue of a world's namespace. */
export interface GpuQueue {
  /** Name of the LocalQueue. */
  readonly name: string;
  /** Stops the ClusterQueue and drains it, or lets it go on. */
  hold(is: boolean): Promise<void>;
  createLocalQueue(name: string): Promise<void>;
  /** Deactivates the Workload of a task's Job, or activates it again. */
  activate(task: string, is: boolean): Promise<void>;
  /** The Workloads of the namespace by the name of their Job. */
  workloads(): Promise<ReadonlyMap<string, Workload>>;
}

const workload = z.looseObject({
  metadata: z.looseObject({
    name: z.string(),
    ownerReferences: z.array(z.looseObject({ name: z.string() })).min(1),
  }),
});
type Workload = z.output<typeof workload>;
const list = z.looseObject({ items: z.array(workload) });

/** Makes a flavor, a ClusterQueue in which High preempts Low, and a LocalQueue `gpus`. */
export async function openQueue({ lab }: World): Promise<GpuQueue> {
  const { api } = controlPlane();
  const { namespace } = lab;
  const clusterQueue = `${API}/clusterqueues/${namespace}`;
  const workloads = `${API}/namespaces/${namespace}/workloads`;
  await create('resourceflavors', 'ResourceFlavor', namespace, {});
  await create('clusterqueues', 'ClusterQueue', namespace, oneGpu(namespace));
  const queue: GpuQueue = {
    name: 'gpus',
    async hold(is) {
      const body = { spec: { stopPolicy: is ? 'HoldAndDrain' : 'None' } };
      expectOk(await api.call('PATCH', clusterQueue, { body, contentType: MERGE }));
    },
    async createLocalQueue(name) {
      const path = `${API}/namespaces/${namespace}/localqueues`;
      const spec = { clusterQueue: namespace };
      const body = { apiVersion: API_VERSION, kind: 'LocalQueue', metadata: { name }, spec };
      expectOk(await api.call('POST', path, { body }));
    },
    async workloads() {
      const { items } = list.parse(expectOk(await api.call('GET', workloads)));
      return new Map(items.map((item) => [item.metadata.ownerReferences[0]?.name ?? '', item]));
    },
    async activate(task, is) {
      const found = await eventually(`the Workload of ${task}`, async () => {
        const { attempt } = (await lab.get(task)).status ?? {};
        return (await queue.workloads()).get(attempt?.jobName ?? '');
      });
      const path = `${workloads}/${found.metadata.name}`;
      expectOk(await api.call('PATCH', path, { body: { spec: { active: is } }, contentType: MERGE }));
    },
  };
  await queue.createLocalQueue(queue.name);
  return queue;
}

async function create(plural: string, kind: string, name: string, spec: object): Promise<void> {
  const body = { apiVersion: API_VERSION, kind, metadata: { name }, spec };
  expectOk(await controlPlane().api.call('POST', `${API}/${plural}`, { body }));
}

/** Everything that a pod of a task asks for must be covered, or Kueue admits nothing. */
function oneGpu(flavor: string): object {
  const quotas = { cpu: '100', memory: '1Ti', 'nvidia.com/gpu': '1' };
  const resources = Object.entries(quotas).map(([name, nominalQuota]) => ({ name, nominalQuota }));
  return {
    namespaceSelector: {},
    preemption: { withinClusterQueue: 'LowerPriority' },
    resourceGroups: [{ coveredResources: Object.keys(quotas), flavors: [{ name: flavor, resources }] }],
  };
}
