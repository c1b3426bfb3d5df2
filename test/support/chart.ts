import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { ROOT } from '../../hack/gen/files.ts';
import { helm } from '../../hack/helm.ts';
import { controlPlane, expectOk } from './control-plane.ts';

const object = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
/** An object of the chart as a client would send it. */
export type Rendered = z.infer<typeof object>;

/** Renders a chart (our own by default) as release `release` into `namespace`; settings are `key=json`. */
export async function renderChart(
  release: string,
  namespace: string,
  settings: readonly string[],
  chart: string = join(ROOT, 'charts', 'analysis-operator'),
): Promise<readonly Rendered[]> {
  const sets = settings.flatMap((setting) => ['--set-json', setting]);
  const text = await helm(['template', release, chart, '--namespace', namespace, ...sets]);
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((value) => value !== null)
    .map((value) => object.parse(value));
}

const resourceList = z.looseObject({
  resources: z.array(z.looseObject({ name: z.string(), kind: z.string(), namespaced: z.boolean() })),
});
const groupPath = (apiVersion: string): string => (apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`);

/** Applies one object server-side, refusing unknown fields; returns its path. */
export async function apply(body: Rendered, options: { readonly dryRun: boolean }): Promise<string> {
  const { api } = controlPlane();
  const { apiVersion, kind } = body;
  const { resources } = resourceList.parse(expectOk(await api.call('GET', groupPath(apiVersion))));
  const resource = resources.find(({ name, kind: served }) => served === kind && !name.includes('/'));
  if (!resource) throw new Error(`${apiVersion} has no ${kind} here`);
  // Some charts give cluster-wide objects a namespace; helm ignores it, the API server does not.
  const { namespace, ...rest } = body.metadata;
  const metadata = resource.namespaced ? body.metadata : rest;
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : '';
  const path = `${groupPath(apiVersion)}${scope}/${resource.name}/${metadata.name}`;
  const query = `?fieldValidation=Strict&fieldManager=chart-test&force=true${options.dryRun ? '&dryRun=All' : ''}`;
  const request = { body: { ...body, metadata }, contentType: 'application/apply-patch+yaml' };
  expectOk(await api.call('PATCH', path + query, request));
  return path;
}
