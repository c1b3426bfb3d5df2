import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { z } from 'zod';
import { apply, renderChart } from '../support/chart.ts';
import { controlPlane, expectOk, freshNamespace } from '../support/control-plane.ts';

let namespace = '';
before(async () => {
  namespace = await freshNamespace('chart', { 'pod-security.kubernetes.io/enforce': 'restricted' });
});

const deployment = z.looseObject({
  spec: z.looseObject({ template: z.looseObject({ spec: z.looseObject({}) }) }),
});

describe('the chart, on a real API server', () => {
  const settings = {
    'with its defaults': () => [],
    'with everything switched on, for one namespace': () => [
      `config.namespaces=["${namespace}"]`,
      `networkPolicy={"enabled":true,"taskNamespaces":["${namespace}"]}`,
      'storeAgent.enabled=true',
    ],
  } as const satisfies Record<string, () => readonly string[]>;
  for (const [what, values] of Object.entries(settings))
    it(`is accepted ${what}, with no unknown field`, async () => {
      const objects = await renderChart('chart-test', namespace, values());
      assert.ok(objects.length > 15);
      for (const one of objects) await apply(one, { dryRun: true });
    });

  it("runs the operator's pod under the restricted Pod Security Standard", async () => {
    const rendered = await renderChart('chart-test', namespace, []);
    const { spec } = deployment.parse(rendered.find(({ kind }) => kind === 'Deployment')).spec.template;
    const { api } = controlPlane();
    const base = `/api/v1/namespaces/${namespace}`;
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'operator' } };
    expectOk(await api.call('POST', `${base}/serviceaccounts`, { body: account }));
    const tried = (changes: object) => {
      const body = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'operator' },
        spec: { ...spec, serviceAccountName: 'operator', ...changes },
      };
      return api.call('POST', `${base}/pods?dryRun=All`, { body });
    };
    expectOk(await tried({}));
    const asRoot = await tried({ securityContext: { runAsUser: 0 } });
    assert.equal(asRoot.status, 403, 'the namespace really enforces the standard');
  });
});
