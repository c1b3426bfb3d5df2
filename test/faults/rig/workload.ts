import { z } from 'zod';
import { expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { evict } from './disruptions.ts';
import type { Behaviour } from './containers.ts';
import type { Logged } from './rules.ts';
import { type Expected, RECOVERY_MS, type World } from './world.ts';

/** One way through a task's life. */
interface Life {
  readonly ends: Expected;
  readonly spec?: object;
  readonly script?: (attempt: number) => Behaviour;
  /** What its user does meanwhile. */
  readonly user?: (world: World, task: string) => Promise<void>;
}

const firstOnly =
  (model: Behaviour['model']) =>
  (attempt: number): Behaviour =>
    attempt === 1 && model ? { model } : {};

const LIVES = {
  ok: { ends: 'Succeeded' },
  retried: { ends: 'Succeeded', script: firstOnly('fails') },
  fails: { ends: 'Failed', script: () => ({ model: 'fails' }) },
  cancelled: {
    ends: 'Cancelled',
    script: () => ({ model: 'hangs' }),
    user: (world, task) => world.running(task).then(() => desire(world, task, 'Cancel')),
  },
  paused: { ends: 'Succeeded', script: firstOnly('hangs'), user: pauseAndResume },
  evicted: {
    ends: 'Succeeded',
    script: (attempt) => (attempt === 1 ? { model: 'hangs', onModel: (pod) => void evict(pod) } : {}),
  },
  early: {
    ends: 'Cancelled',
    script: () => ({ model: 'waits' }),
    user: (world, task) =>
      eventually(`${task} has a pod`, () => podOf(world, task), RECOVERY_MS).then(() =>
        desire(world, task, 'Cancel'),
      ),
  },
  invalid: { ends: 'Failed', spec: { parameters: { unheardOf: '1' } } },
} as const satisfies Readonly<Record<string, Life>>;

export type LifeName = keyof typeof LIVES;

/** Each life once, in a task of its name. */
const EACH_ONCE = {
  ok: 'ok',
  retried: 'retried',
  fails: 'fails',
  cancelled: 'cancelled',
  paused: 'paused',
  evicted: 'evicted',
  early: 'early',
  invalid: 'invalid',
} as const satisfies Readonly<Record<LifeName, LifeName>>;

/**
 * The reference workload: every way a task goes through its life, all at once. The same in each plan, so that plans
 * differ in their fault alone.
 */
export const REFERENCE: Readonly<Record<string, Expected>> = endsOf(EACH_ONCE);

function lifeOf(name: LifeName): Life {
  return LIVES[name];
}

/** How each task of a workload is to end. */
export function endsOf(lives: Readonly<Record<string, LifeName>>): Record<string, Expected> {
  return Object.fromEntries(Object.entries(lives).map(([task, life]) => [task, lifeOf(life).ends]));
}

/** Starts the workload and does what its users do; resolves when nobody will touch a task again. */
export async function runReference(world: World): Promise<void> {
  await world.lab.model('later'); // the one write that does not belong to a task: the model's own status
  await runLives(world, EACH_ONCE);
}

/** The same for any choice of lives: task name -> the life that it leads. `runMs`: how long each model runs at least. */
export async function runLives(
  world: World,
  lives: Readonly<Record<string, LifeName>>,
  { runMs }: Pick<Behaviour, 'runMs'> = {},
): Promise<void> {
  const all = Object.entries(lives).map(([task, name]) => ({ task, life: lifeOf(name) }));
  for (const { task, life } of all) {
    if (runMs !== undefined) world.node.script(task, (attempt) => ({ runMs, ...life.script?.(attempt) }));
    else if (life.script) world.node.script(task, life.script);
    await world.submit(task, life.spec);
  }
  await Promise.all(all.map(async ({ task, life }) => life.user?.(world, task)));
}

async function desire({ lab }: World, task: string, desired: string): Promise<void> {
  expectOk(await lab.patchTask(task, { spec: { desired } }));
}

async function pauseAndResume(world: World, task: string): Promise<void> {
  await world.running(task);
  await desire(world, task, 'Suspend');
  await world.until(task, 'Suspended', ({ reason }) => reason === 'Suspended');
  await desire(world, task, 'Run');
}

async function podOf({ lab }: World, task: string): Promise<true | undefined> {
  const jobs = new Set((await lab.jobs(task)).map(({ metadata }) => metadata.uid));
  return (await lab.pods()).some(({ ownerUid }) => jobs.has(ownerUid ?? '')) ? true : undefined;
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
