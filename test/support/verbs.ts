/** One verb on one resource, in words: `create batch/jobs`, `update analysis.elsi.dev/analysistasks/status`, `list pods`. */
export type Right = string;

export const rightTo = (verb: string, group: string, resource: string): Right =>
  `${verb} ${group === '' ? '' : `${group}/`}${resource}`;

const PATH =
  /^\/(?:api|apis\/(?<group>[^/]+))\/v[^/]+\/(?:namespaces\/[^/]+\/)?(?<resource>[^/]+)(?:\/(?<name>[^/]+)(?:\/(?<sub>[^/]+))?)?$/;
const VERBS: Readonly<Record<string, readonly [ofOne: string, ofAll: string]>> = {
  GET: ['get', 'list'],
  POST: ['create', 'create'],
  PUT: ['update', 'update'],
  PATCH: ['patch', 'patch'],
  DELETE: ['delete', 'deletecollection'],
};

/** The right that a request needs; undefined where it is about no resource, such as `/version`. */
export function rightOf({
  method,
  path,
}: {
  readonly method: string;
  readonly path: string;
}): Right | undefined {
  const { pathname, searchParams } = new URL(path, 'https://api');
  const { group = '', resource, name, sub } = PATH.exec(pathname)?.groups ?? {};
  const verbs = VERBS[method];
  if (resource === undefined || !verbs) return undefined;
  const isWatch = ['1', 'true'].includes(searchParams.get('watch') ?? '');
  const verb = isWatch ? 'watch' : verbs[name === undefined ? 1 : 0];
  return rightTo(verb, group, sub === undefined ? resource : `${resource}/${sub}`);
}
