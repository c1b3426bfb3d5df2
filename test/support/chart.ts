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

/** Renders the chart as release `release` into `namespace`; settings are `key=json`. */
export async function renderChart(
  release: string,
  namespace: string,
  settings: readonly string[],
): Promise<readonly Rendered[]> {
  const chart = join(ROOT, 'charts', 'analysis-operator');
  const sets = settings.flatMap((setting) => ['--set-json', setting]);
  const text = await helm(['template', release, chart, '--namespace', namespace, ...sets]);
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((value) => value !== null)
    .map((value) => object.parse(value));
}

const resourceList = z.looseObject({
  resources: z.array(z.looseObject({ name: z.string(), kind: z.string() })),
});
const groupPath = (apiVersion: string): string => (apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`);

/** Applies one object server-side, refusing unknown fields; returns its path. */
export async function apply(body: Rendered, options: { readonly dryRun: boolean }): Promise<string> {
  const { api } = controlPlane();
  const { apiVersion, kind, metadata } = body;
  const { resources } = resourceList.parse(expectOk(await api.call('GET', groupPath(apiVersion))));
  const plural = resources.find((resource) => resource.kind === kind && !resource.name.includes('/'))?.name;
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  const path = `${groupPath(apiVersion)}${scope}/${plural}/${metadata.name}`;
  const query = `?fieldValidation=Strict&fieldManager=chart-test&force=true${options.dryRun ? '&dryRun=All' : ''}`;
  expectOk(await api.call('PATCH', path + query, { body, contentType: 'application/apply-patch+yaml' }));
  return path;
}
