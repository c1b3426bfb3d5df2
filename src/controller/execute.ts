import { isAlreadyExists } from './api-error.ts';
import type { CallOptions, ResourceClient, Unsaved } from './client.ts';
import type { Action, CreateAction } from './plan.ts';
import type { KubeObject } from './resources.ts';
import { WaitError } from './settle.ts';

/** What an object of the wanted name turns out to be. */
export type Adoption = 'ours' | 'foreign';

export interface ExecutorOptions<Child extends KubeObject> {
  readonly client: ResourceClient<Child>;
  /** Judges an existing object of the wanted name by owner uid and attempt, never by its template. */
  readonly adopt: (existing: Child, wanted: Unsaved<Child>) => Adoption;
}

/** The only writer of children. */
export interface Executor<Child extends KubeObject> {
  /** Runs all actions in order, even after a failure; returns the created or adopted objects, throws the first failure. */
  execute(actions: readonly Action<Child>[], options?: CallOptions): Promise<readonly Child[]>;
}

const TERMINATING_MS = 2_000;
/** Nothing tells when a foreign object goes away. */
const FOREIGN_MS = 60_000;

/** Creates by fixed name and deletes by uid, so each action may be repeated without a second effect. */
export function createExecutor<Child extends KubeObject>(options: ExecutorOptions<Child>): Executor<Child> {
  return {
    async execute(actions, call = {}) {
      const made: Child[] = [];
      const failures: unknown[] = [];
      for (const action of actions) {
        try {
          if (action.do === 'create') made.push(await create(options, action, call));
          else await remove(options, action, call);
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
      return made;
    },
  };
}

async function create<C extends KubeObject>(
  options: ExecutorOptions<C>,
  { object }: CreateAction<C>,
  call: CallOptions,
): Promise<C> {
  call.signal?.throwIfAborted();
  try {
    return await options.client.create(object, call);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return adoptExisting(options, object, call);
  }
}

async function adoptExisting<C extends KubeObject>(
  options: ExecutorOptions<C>,
  wanted: Unsaved<C>,
  call: CallOptions,
): Promise<C> {
  const { name = '', namespace } = wanted.metadata;
  const existing = await options.client.get({ name, namespace }, call);
  const what = describe(options, wanted);
  if (!existing) throw new WaitError('NameTaken', `${what} existed a moment ago and is gone`, TERMINATING_MS);
  if (options.adopt(existing, wanted) !== 'ours') {
    throw new WaitError(
      'NameConflict',
      `${what} exists and belongs to something else; delete or rename it`,
      FOREIGN_MS,
    );
  }
  if (existing.metadata.deletionTimestamp)
    throw new WaitError('NameTaken', `${what} is still being deleted`, TERMINATING_MS);
  return existing;
}

async function remove<C extends KubeObject>(
  { client }: ExecutorOptions<C>,
  action: Extract<Action<C>, { do: 'delete' }>,
  call: CallOptions,
): Promise<void> {
  const { name, namespace, uid, propagation = 'Foreground', gracePeriodSeconds } = action;
  await client.delete(
    { name, namespace },
    { ...call, uid, propagationPolicy: propagation, gracePeriodSeconds },
  );
}

function describe<C extends KubeObject>({ client }: ExecutorOptions<C>, { metadata }: Unsaved<C>): string {
  return `${client.type.kind} "${metadata.namespace ? `${metadata.namespace}/` : ''}${metadata.name ?? ''}"`;
}
