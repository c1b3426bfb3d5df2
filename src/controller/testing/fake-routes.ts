import type { FakeStore, StoredEvent, StoredObject } from './fake-store.ts';
import { FakeStatusError, storeKey } from './fake-store.ts';

export type FakeAnswer =
  | { readonly code: number; readonly body: unknown }
  | { readonly watch: { collection: string; namespace: string | undefined; backlog: StoredEvent[] } };

interface Route {
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

const PATH =
  /^\/(?:api|apis\/[^/]+)\/v[^/]+(?:\/namespaces\/(?<namespace>[^/]+))?\/(?<collection>[^/]+)(?:\/(?<name>[^/]+)(?:\/(?<subresource>[^/]+))?)?$/;

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly token: string | undefined;
  readonly contentType: string | undefined;
  readonly socket: number;
}

/** What a real API server would answer, for the calls the runtime makes. */
export function answerOf(store: FakeStore, request: SeenRequest): FakeAnswer {
  const route = parsePath(request.path);
  switch (request.method) {
    case 'GET':
      return read(store, route, request.query);
    case 'POST':
      return {
        code: 201,
        body: store.create(route.collection, route.namespace, request.body as StoredObject),
      };
    case 'PUT':
      return { code: 200, body: replace(store, route, request.body as StoredObject) };
    case 'PATCH':
      return { code: 200, body: patch(store, route, request.body as Partial<StoredObject>) };
    case 'DELETE':
      return { code: 200, body: remove(store, route, request.body) };
    default:
      throw new FakeStatusError(405, 'MethodNotAllowed');
  }
}

function parsePath(path: string): Route {
  const groups = PATH.exec(path)?.groups;
  if (!groups) throw new FakeStatusError(404, 'NotFound', `no route for ${path}`);
  const { collection = '', namespace, name, subresource } = groups;
  return { collection, namespace, name, subresource };
}

const keyIn = ({ namespace, name = '' }: Route): string => storeKey({ namespace, name });

function read(store: FakeStore, route: Route, query: URLSearchParams): FakeAnswer {
  const { collection, namespace, name } = route;
  if (name !== undefined) {
    const object = store.get(collection, keyIn(route));
    if (!object) throw new FakeStatusError(404, 'NotFound');
    return { code: 200, body: object };
  }
  if (query.get('watch') !== 'true') return { code: 200, body: page(store, route, query) };
  return {
    watch: { collection, namespace, backlog: backlogOf(store, route, Number(query.get('resourceVersion'))) },
  };
}

function backlogOf(store: FakeStore, { collection, namespace }: Route, version: number): StoredEvent[] {
  return store
    .since(collection, version)
    .filter(({ object }) => !namespace || object.metadata.namespace === namespace);
}

/** The continue token is the version and the offset, so it survives writes in between and dies with a compaction. */
function page(store: FakeStore, { collection, namespace }: Route, query: URLSearchParams): object {
  const token = query.get('continue');
  const exact = query.get('resourceVersionMatch') === 'Exact' ? query.get('resourceVersion') : null;
  const [tokenVersion, tokenOffset] = token?.split(':') ?? [];
  const version = Number(tokenVersion ?? exact ?? store.version);
  const offset = Number(tokenOffset ?? 0);
  const all = store
    .listAt(collection, version)
    .filter((object) => !namespace || object.metadata.namespace === namespace)
    .filter((object) => hasLabels(object, query.get('labelSelector')));
  const limit = Number(query.get('limit') ?? all.length);
  const next = offset + limit < all.length ? { continue: `${version}:${offset + limit}` } : {};
  return {
    metadata: { resourceVersion: String(version), ...next },
    items: all.slice(offset, offset + limit),
  };
}

function hasLabels({ metadata }: StoredObject, selector: string | null): boolean {
  const wanted = selector?.split(',').filter(Boolean) ?? [];
  return wanted.every((term) => {
    const [name = '', value] = term.split('=');
    return metadata.labels?.[name] === value;
  });
}

function replace(store: FakeStore, route: Route, body: StoredObject): StoredObject {
  return store.update(route.collection, keyIn(route), body.metadata, (current) =>
    route.subresource === 'status' ? { ...current, status: body['status'] } : body,
  );
}

function patch(store: FakeStore, route: Route, body: Partial<StoredObject>): StoredObject {
  return store.update(route.collection, keyIn(route), body.metadata ?? {}, (current) => merge(current, body));
}

function merge<T extends object>(current: T, change: object): T {
  const merged: Record<string, unknown> = Object.fromEntries(Object.entries(current));
  for (const [name, value] of Object.entries(change)) {
    const before = merged[name];
    if (value === null) delete merged[name];
    else if (isPlain(before) && isPlain(value)) merged[name] = merge(before, value);
    else merged[name] = value;
  }
  return merged as T;
}

const isPlain = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function remove(store: FakeStore, route: Route, body: unknown): StoredObject {
  const { preconditions = {} } = (body ?? {}) as {
    preconditions?: { uid?: string; resourceVersion?: string };
  };
  return store.remove(route.collection, keyIn(route), preconditions);
}
