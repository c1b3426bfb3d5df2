import { z } from 'zod';
import { API_VERSION } from '../../../src/api/keys.ts';
import type { JobView, PodView } from '../../../src/jobs/views.ts';
import type { Answer } from '../../support/api.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { RECOVERY_MS, type World } from './world.ts';

export type Policy = 'Background' | 'Foreground' | 'Orphan';

const COLLECTIONS = {
  analysistasks: `/apis/${API_VERSION}`,
  jobs: '/apis/batch/v1',
  pods: '/api/v1',
  configmaps: '/api/v1',
} as const;
export type Resource = keyof typeof COLLECTIONS;

/** What somebody with kubectl and too many rights does to the objects of one namespace, past every operator. */
export interface Hands {
  /** The Job of the current attempt, once the task's status knows its UID. */
  job(task: string): Promise<JobView>;
  /** The pod of that Job. */
  pod(task: string): Promise<PodView>;
  create(resource: Resource, body: object): Promise<{ readonly uid: string }>;
  remove(resource: Resource, name: string, options?: { policy?: Policy; force?: boolean }): Promise<void>;
  /** A merge patch; throws when it is refused. */
  patch(resource: Resource, name: string, body: object): Promise<void>;
  /** The same for a subresource, with the answer. */
  tryPatch(resource: Resource, name: string, body: object): Promise<Answer>;
  exists(resource: Resource, name: string): Promise<boolean>;
  gone(resource: Resource, name: string): Promise<void>;
}

const withUid = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) });

export function handsIn(world: World): Hands {
  const { namespace } = world.lab;
  const collection = (resource: Resource) => `${COLLECTIONS[resource]}/namespaces/${namespace}/${resource}`;
  const api = () => controlPlane().api;
  const hands: Hands = {
    job: (task) => eventually(`the recorded Job of ${task}`, () => recordedJob(world, task), RECOVERY_MS),
    async pod(task) {
      const { metadata } = await hands.job(task);
      const find = async () => (await world.lab.pods()).find((pod) => pod.ownerUid === metadata.uid);
      return eventually(`the pod of ${task}`, find, RECOVERY_MS);
    },
    async create(resource, body) {
      const made = expectOk(await api().call('POST', collection(resource), { body }));
      return { uid: withUid.parse(made).metadata.uid };
    },
    async remove(resource, name, { policy = 'Background', force = false } = {}) {
      const body = { propagationPolicy: policy, ...(force ? { gracePeriodSeconds: 0 } : {}) };
      expectOk(await api().call('DELETE', `${collection(resource)}/${name}`, { body }));
    },
    async patch(resource, name, body) {
      expectOk(await hands.tryPatch(resource, name, body));
    },
    tryPatch: (resource, name, body) =>
      api().call('PATCH', `${collection(resource)}/${name}`, {
        body,
        contentType: 'application/merge-patch+json',
      }),
    exists: async (resource, name) =>
      (await api().call('GET', `${collection(resource)}/${name}`)).status === 200,
    async gone(resource, name) {
      const probe = async () => ((await hands.exists(resource, name)) ? undefined : true);
      await eventually(`${resource}/${name} is gone`, probe, RECOVERY_MS);
    },
  };
  return hands;
}

async function recordedJob({ lab }: World, task: string): Promise<JobView | undefined> {
  const uid = (await lab.get(task)).status?.attempt?.jobUID;
  return uid === undefined ? undefined : (await lab.jobs()).find(({ metadata }) => metadata.uid === uid);
}
