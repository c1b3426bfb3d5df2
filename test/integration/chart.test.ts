import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { ROOT } from '../../hack/gen/files.ts';
import { helm } from '../../hack/helm.ts';
import { controlPlane, expectOk, freshNamespace } from '../support/control-plane.ts';

const object = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
type Rendered = z.infer<typeof object>;

const resourceList = z.looseObject({
  resources: z.array(z.looseObject({ name: z.string(), kind: z.string() })),
});

let namespace = '';
before(async () => {
  namespace = await freshNamespace('chart', { 'pod-security.kubernetes.io/enforce': 'restricted' });
});

async function render(...settings: readonly string[]): Promise<readonly Rendered[]> {
  const chart = join(ROOT, 'charts', 'analysis-operator');
  const sets = settings.flatMap((setting) => ['--set-json', setting]);
  const text = await helm(['template', 'chart-test', chart, '--namespace', namespace, ...sets]);
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((value) => value !== null)
    .map((value) => object.parse(value));
}

const groupPath = (apiVersion: string): string => (apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`);

/** Applies one object server-side without keeping it, refusing unknown fields. */
async function dryRun({ apiVersion, kind, metadata, ...rest }: Rendered): Promise<void> {
  const { api } = controlPlane();
  const { resources } = resourceList.parse(expectOk(await api.call('GET', groupPath(apiVersion))));
  const plural = resources.find((resource) => resource.kind === kind && !resource.name.includes('/'))?.name;
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  const query = '?dryRun=All&fieldValidation=Strict&fieldManager=chart-test&force=true';
  const path = `${groupPath(apiVersion)}${scope}/${plural}/${metadata.name}${query}`;
  const body = { apiVersion, kind, metadata, ...rest };
  expectOk(await api.call('PATCH', path, { body, contentType: 'application/apply-patch+yaml' }));
}

const deployment = z.looseObject({
  spec: z.looseObject({ template: z.looseObject({ spec: z.looseObject({}) }) }),
});

describe('the chart, on a real API server', () => {
  const settings = {
    'with its defaults': () => [],
    'with everything switched on, for one namespace': () => [
      `config.namespaces=["${namespace}"]`,
      `networkPolicy={"enabled":true,"taskNamespaces":["${namespace}"]}`,
    ],
  } as const satisfies Record<string, () => readonly string[]>;
  for (const [what, values] of Object.entries(settings))
    it(`is accepted ${what}, with no unknown field`, async () => {
      const objects = await render(...values());
      assert.ok(objects.length > 15);
      for (const one of objects) await dryRun(one);
    });

  it("runs the operator's pod under the restricted Pod Security Standard", async () => {
    const rendered = (await render()).find(({ kind }) => kind === 'Deployment');
    const { spec } = deployment.parse(rendered).spec.template;
    const { api } = controlPlane();
    const base = `/api/v1/namespaces/${namespace}`;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'operator' },
      spec: { ...spec, serviceAccountName: 'operator' },
    };
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'operator' } };
    expectOk(await api.call('POST', `${base}/serviceaccounts`, { body: account }));
    expectOk(await api.call('POST', `${base}/pods?dryRun=All`, { body: pod }));
    const root = { ...pod, spec: { ...pod.spec, securityContext: { runAsUser: 0 } } };
    const refused = await api.call('POST', `${base}/pods?dryRun=All`, { body: root });
    assert.equal(refused.status, 403, 'the namespace really enforces the standard');
  });
});
