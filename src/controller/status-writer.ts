import { isDeepStrictEqual } from 'node:util';
import type { CallOptions, ResourceClient } from './client.ts';
import type { KubeObject } from './resources.ts';

export type WithStatus = KubeObject & { readonly status?: unknown };

/**
 * Writes `status` over the status of `object`, the copy the decision rests on: a copy that is not the newest gets 409
 * (`isConflict`) and changes nothing. Returns the object as it is now, or `object` itself when there is nothing to write.
 */
export async function writeStatus<T extends WithStatus>(
  client: ResourceClient<T>,
  object: T,
  status: T['status'],
  options: CallOptions = {},
): Promise<T> {
  if (
    status === object.status ||
    isDeepStrictEqual(withoutUndefined(status), withoutUndefined(object.status))
  )
    return object;
  return client.replaceStatus(object, status, options);
}

/** As JSON carries it: an undefined property is an absent one. */
function withoutUndefined(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}
