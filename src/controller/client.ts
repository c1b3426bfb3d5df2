import { isConflict, isNotFound } from './api-error.ts';
import type { KubeObject, ObjectRef, ResourceType } from './resources.ts';
import { apiVersionOf, collectionPath, objectPath } from './resources.ts';
import type { CallPool, Query, Transport } from './transport.ts';

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface ListOptions extends CallOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects per page. @default 500 */
  readonly limit?: number | undefined;
  /** Absent: a consistent read of the newest state. */
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan' | undefined;
  /** Replaces the Accept header, e.g. for PartialObjectMetadataList. */
  readonly accept?: string | undefined;
}

export interface ListPage<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export interface DeleteOptions extends CallOptions {
  /** Only the object with this uid is deleted, never its successor of the same name. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan' | undefined;
  readonly gracePeriodSeconds?: number | undefined;
}

export interface PatchOptions extends CallOptions {
  readonly subresource?: string | undefined;
}

/** An object to be created: the server fills uid, resourceVersion and, if absent, the type. */
export type Unsaved<T extends KubeObject> = Omit<T, 'metadata' | 'status'> & {
  readonly metadata: Partial<T['metadata']> & { readonly name?: string };
};

/** Typed REST access to one kind. Every failure is an ApiError, UnknownOutcomeError or UnreachableError. */
export interface ResourceClient<T extends KubeObject> {
  readonly type: ResourceType;
  /** A live, consistent read; undefined when there is no such object. */
  get(ref: ObjectRef, options?: CallOptions): Promise<T | undefined>;
  /** Pages of a consistent list; a 410 in the middle ends it with an error for which `isGone` holds. */
  pages(options?: ListOptions): AsyncGenerator<ListPage<T>, void, undefined>;
  /** All pages at once; for lists known to be short. */
  list(options?: ListOptions): Promise<readonly T[]>;
  create(object: Unsaved<T>, options?: CallOptions): Promise<T>;
  /** PUT of the whole object, guarded by its resourceVersion. */
  replace(object: T, options?: CallOptions): Promise<T>;
  /** PUT of /status alone, guarded by uid and resourceVersion of `object`, the copy decided on. */
  replaceStatus(object: KubeObject, status: unknown, options?: CallOptions): Promise<T>;
  /** RFC 7386 merge patch; put `metadata.resourceVersion` into the patch to make it conditional. */
  mergePatch(ref: ObjectRef, patch: object, options?: PatchOptions): Promise<T>;
  /** False when the object, or the one with that uid, was gone already. Acceptance, not completion: finalizers may hold it. */
  delete(ref: ObjectRef, options?: DeleteOptions): Promise<boolean>;
}

interface RawList<T> {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly T[] | null;
}

const PAGE = 500;

/** A client for one kind; `pool` moves all its calls to another connection pool. */
export function resourceClient<T extends KubeObject>(
  transport: Transport,
  type: ResourceType,
  { pool }: { readonly pool?: CallPool } = {},
): ResourceClient<T> {
  const common = pool === undefined ? {} : { pool };
  const call = <R>(
    method: Method,
    path: string,
    { signal, timeoutMs }: CallOptions = {},
    extra: Extra = {},
  ): Promise<R> => transport.request<R>({ method, path, ...common, ...extra, signal, timeoutMs });

  const get: ResourceClient<T>['get'] = (ref, options) =>
    orUndefined(call<T>('GET', objectPath(type, ref), options));
  const pages: ResourceClient<T>['pages'] = (options) =>
    pagesOf<T>(type, options ?? {}, (path, query) =>
      call('GET', path, options, { query, accept: options?.accept }),
    );

  return {
    type,
    get,
    pages,
    async list(options) {
      const all: T[] = [];
      for await (const page of pages(options)) all.push(...page.items);
      return all;
    },
    create: (object, options) =>
      call<T>('POST', collectionPath(type, object.metadata.namespace), options, {
        body: { ...object, ...typeMeta(type) },
      }),
    replace: (object, options) =>
      call<T>('PUT', objectPath(type, object.metadata), options, { body: { ...object, ...typeMeta(type) } }),
    replaceStatus: (object, status, options) =>
      call<T>('PUT', objectPath(type, object.metadata, 'status'), options, {
        body: statusBody(type, object, status),
      }),
    mergePatch: (ref, patch, options) =>
      call<T>('PATCH', objectPath(type, ref, options?.subresource), options, {
        body: patch,
        contentType: 'application/merge-patch+json',
      }),
    async delete(ref, options = {}) {
      try {
        await call('DELETE', objectPath(type, ref), options, { body: deleteBody(options) });
        return true;
      } catch (error) {
        if (isNotFound(error)) return false;
        if (!isConflict(error) || options.uid === undefined) throw error;
        if ((await get(ref, options))?.metadata.uid === options.uid) throw error;
        return false; // another object bears the name now
      }
    },
  };
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface Extra {
  readonly query?: Query | undefined;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string | undefined;
}

const typeMeta = (type: ResourceType) => ({ apiVersion: apiVersionOf(type), kind: type.kind });

/** Only what identifies the copy goes along: the server takes everything but status from its own object. */
function statusBody(type: ResourceType, { metadata }: KubeObject, status: unknown): object {
  const { name, namespace, uid, resourceVersion } = metadata;
  return {
    ...typeMeta(type),
    metadata: { name, ...(namespace ? { namespace } : {}), uid, resourceVersion },
    status,
  };
}

function deleteBody({ uid, resourceVersion, propagationPolicy, gracePeriodSeconds }: DeleteOptions): object {
  const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
  return {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    ...(uid || resourceVersion ? { preconditions } : {}),
    ...(propagationPolicy ? { propagationPolicy } : {}),
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
  };
}

async function orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function* pagesOf<T>(
  type: ResourceType,
  options: ListOptions,
  fetchPage: (path: string, query: Query) => Promise<RawList<T>>,
): AsyncGenerator<ListPage<T>, void, undefined> {
  const {
    namespace,
    labelSelector,
    fieldSelector,
    limit = PAGE,
    resourceVersion,
    resourceVersionMatch,
  } = options;
  const path = collectionPath(type, namespace);
  let next: string | undefined;
  do {
    // A continue token fixes the resourceVersion; sending both is refused.
    const version: Query =
      next === undefined ? { resourceVersion, resourceVersionMatch } : { continue: next };
    const page = await fetchPage(path, { labelSelector, fieldSelector, limit, ...version });
    yield { items: page.items ?? [], resourceVersion: page.metadata?.resourceVersion ?? '' };
    next = page.metadata?.continue || undefined;
  } while (next !== undefined);
}
