import { z } from 'zod';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import type { Pod } from './node.ts';
import type { Logged } from './rules.ts';
import { type Expected, RECOVERY_MS, type World } from './world.ts';

/**
 * The reference workload: every way a task goes through its life, all at once. The same in each plan, so that plans
 * differ in their fault alone.
 */
export const REFERENCE: Readonly<Record<string, Expected>> = {
  ok: 'Succeeded',
  retried: 'Succeeded',
  fails: 'Failed',
  cancelled: 'Cancelled',
  paused: 'Succeeded',
  evicted: 'Succeeded',
  early: 'Cancelled',
  invalid: 'Failed',
};

/** Starts the workload and does what its users do; resolves when nobody will touch a task again. */
export async function runReference(world: World): Promise<void> {
  const { node, lab } = world;
  node.script('retried', (attempt) => ({ model: attempt === 1 ? 'fails' : 'succeeds' }));
  node.script('fails', () => ({ model: 'fails' }));
  node.script('cancelled', () => ({ model: 'hangs' }));
  node.script('paused', (attempt) => ({ model: attempt === 1 ? 'hangs' : 'succeeds' }));
  node.script('early', () => ({ model: 'waits' }));
  node.script('evicted', (attempt) =>
    attempt === 1 ? { model: 'hangs', onModel: (pod) => void evict(pod) } : {},
  );
  await lab.model('later'); // the one write that does not belong to a task: the model's own status
  const { invalid: _invalid, ...usual } = REFERENCE;
  for (const task of Object.keys(usual)) await world.submit(task);
  await world.submit('invalid', { parameters: { unheardOf: '1' } });
  const desire = async (task: string, desired: string): Promise<void> =>
    void expectOk(await lab.patchTask(task, { spec: { desired } }));
  await Promise.all([
    world.running('cancelled').then(() => desire('cancelled', 'Cancel')),
    eventually('early has a pod', () => podOf(world, 'early'), RECOVERY_MS).then(() =>
      desire('early', 'Cancel'),
    ),
    world
      .running('paused')
      .then(() => desire('paused', 'Suspend'))
      .then(() => world.until('paused', 'Suspended', ({ reason }) => reason === 'Suspended'))
      .then(() => desire('paused', 'Run')),
  ]);
}

async function podOf({ lab }: World, task: string): Promise<true | undefined> {
  const jobs = new Set((await lab.jobs(task)).map(({ metadata }) => metadata.uid));
  return (await lab.pods()).some(({ ownerUid }) => jobs.has(ownerUid ?? '')) ? true : undefined;
}

/** As `kubectl drain` does: the API server marks the pod as disrupted and deletes it gracefully. */
async function evict({ metadata }: Pod): Promise<void> {
  const { name, namespace } = metadata;
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
  await controlPlane().api.call('POST', path, { body });
}

const READS = new Set(['GET', 'HEAD']);

/** What kind of write a request is, such as "status Pending/Starting 1" or "create jobs"; undefined for reads, leases and events. */
export function kindOfWrite({
  method,
  path,
  body,
}: Pick<Logged, 'method' | 'path' | 'body'>): string | undefined {
  if (READS.has(method) || /\/(leases|events)(\/|$|\?)/.test(path)) return undefined;
  const [resource = '', , subresource] =
    path
      .replace(/\?.*/, '')
      .split(/\/v1(?:alpha1)?\/(?:namespaces\/[^/]+\/)?/)[1]
      ?.split('/') ?? [];
  if (subresource === 'status' && resource === 'analysistasks') return `status ${statusOf(body)}`;
  const verb = { POST: 'create', DELETE: 'delete', PATCH: 'patch', PUT: 'replace' }[method] ?? method;
  return `${verb} ${resource}${subresource ? `/${subresource}` : ''}`;
}

const written = z.object({
  status: z.object({
    phase: z.string().optional(),
    reason: z.string().optional(),
    attempt: z.object({ number: z.number(), jobUID: z.string().optional() }).optional(),
  }),
});

/** Phase and reason, the attempt's number, and whether its Job is known: two writes that differ in these differ in effect. */
function statusOf(body: string): string {
  const { phase, reason, attempt } = written.parse(JSON.parse(body)).status;
  const number = attempt ? ` ${attempt.number}${attempt.jobUID ? '+job' : ''}` : '';
  return `${phase}/${reason}${number}`;
}
