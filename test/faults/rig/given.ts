import assert from 'node:assert/strict';
import { z } from 'zod';
import type { TaskStatus } from '../../../src/api/task.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { kindOfWrite } from './workload.ts';
import type { Seen } from './rules.ts';
import { RECOVERY_MS, type World } from './world.ts';

/** Objects that a row gives to the API server, or takes away, while the operator works. */

type Body = Readonly<Record<string, unknown>> & {
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string };
};
const MERGE = 'application/merge-patch+json';

export async function create(collection: string, body: Body): Promise<void> {
  expectOk(await controlPlane().api.call('POST', collection, { body }));
}

/** Gone already is fine. */
export async function remove(path: string, body?: object): Promise<void> {
  const answer = await controlPlane().api.call('DELETE', path, body ? { body } : {});
  if (answer.status !== 404) expectOk(answer);
}

export async function patch(path: string, body: object): Promise<void> {
  expectOk(await controlPlane().api.call('PATCH', path, { body, contentType: MERGE }));
}

/** The objects exist while `run` runs, and no longer. */
export async function whileThere(
  objects: readonly (readonly [collection: string, body: Body])[],
  run: () => Promise<void>,
): Promise<void> {
  const dropAll = () => Promise.all(objects.map(([at, { metadata }]) => remove(`${at}/${metadata.name}`)));
  try {
    for (const [collection, body] of objects) await create(collection, body);
    await run();
  } finally {
    await dropAll();
  }
}

export const jobsPath = ({ lab }: World): string => `/apis/batch/v1/namespaces/${lab.namespace}/jobs`;
export const taskPath = ({ lab }: World, task: string): string =>
  `/apis/analysis.elsi.dev/v1alpha1/namespaces/${lab.namespace}/analysistasks/${task}`;

const written = z.object({
  metadata: z.looseObject({
    name: z.string().optional(),
    resourceVersion: z.string().optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
});

/** Metadata of the object in a request's body. */
export function metadataOf({ body }: Pick<Seen, 'body'>): z.output<typeof written>['metadata'] {
  return written.parse(JSON.parse(body)).metadata;
}

/** Whether a request is a write of this kind about this task. */
export function isWrite(task: string, kind: string | RegExp): (request: Seen) => boolean {
  return (request) => {
    const what = kindOfWrite(request);
    if (what === undefined || !(typeof kind === 'string' ? what === kind : kind.test(what))) return false;
    return taskOf(request) === task;
  };
}

/** The task that a status write or the creation of a Job is about. */
export function taskOf(request: Seen): string | undefined {
  const status = /\/analysistasks\/([^/]+)\/status/.exec(request.path)?.[1];
  if (status !== undefined || request.method !== 'POST' || !request.path.endsWith('/jobs')) return status;
  return metadataOf(request).annotations?.['analysis.elsi.dev/task'];
}

/** Writes of the operator about one task that reached the proxy so far, in words. */
export function writesAbout({ proxy }: World, task: string): string[] {
  return proxy.log.flatMap((request) =>
    taskOf(request) === task ? [`${kindOfWrite(request) ?? request.method}: ${request.status}`] : [],
  );
}

/** Waits until the operator has renewed its lease so often: it is alive, and had the time to do what it should not. */
export async function outlives({ proxy }: World, renewals: number): Promise<void> {
  const count = () =>
    proxy.log.filter(({ method, path }) => method === 'PUT' && path.includes('/leases/')).length;
  const from = count();
  await eventually(
    `${renewals} renewals of the lease`,
    () => (count() >= from + renewals ? true : undefined),
    RECOVERY_MS,
  );
}

/** Waits until the API server acts on what was given to it, as seen by a probe. */
export function takesEffect(what: string, probe: () => Promise<boolean>): Promise<true> {
  return eventually(what, async () => ((await probe().catch(() => false)) ? true : undefined));
}

/** The task waits, is not failed, and says why in the words of whoever refused. */
export async function waitsFor(
  world: World,
  task: string,
  reason: string,
  words: RegExp,
): Promise<TaskStatus> {
  const status = await world.until(task, reason, (seen) => seen.reason === reason);
  assert.equal(status.phase, 'Pending');
  assert.match(status.message ?? '', words);
  return status;
}
