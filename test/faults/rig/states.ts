import type { Hands } from './hands.ts';
import type { Seen } from './rules.ts';
import type { World } from './world.ts';

/** States of a task in which something is to happen to it. Each is named by the task that is in it. */

export const isCreation = ({ method, path }: Seen): boolean => method === 'POST' && path.endsWith('/jobs');

/** The request that creates the Job of the task `claimed`. */
export const isLate = (request: Seen): boolean => isCreation(request) && request.body.includes('"claimed-');

/** The create request is on its way, for so long. */
export async function claimed(world: World, ms: number): Promise<void> {
  const sent = Promise.withResolvers<void>();
  world.proxy.inject({ matches: isLate, fault: { do: 'delay', ms }, onHit: sent.resolve });
  await world.submit('claimed');
  await sent.promise;
}

/** Its pod exists, its model does not run yet. */
export async function starting(world: World, hands: Hands): Promise<void> {
  world.node.script('starting', () => ({ model: 'waits' }));
  await world.submit('starting');
  await hands.pod('starting');
}

/** Its model runs until it is stopped, and takes so long to stop. */
export async function running(world: World, stopMs: number): Promise<void> {
  world.node.script('running', () => ({ model: 'hangs', stopMs }));
  await world.submit('running');
  await world.running('running');
}
