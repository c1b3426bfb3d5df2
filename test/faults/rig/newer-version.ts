import { z } from 'zod';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';

const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/analysistasks.analysis.elsi.dev';
const OPENAPI = '/openapi/v3/apis/analysis.elsi.dev/v1alpha1';
const MARK = 'Only a newer version writes this.';
const ANYTHING = { type: 'object', description: MARK, 'x-kubernetes-preserve-unknown-fields': true };

const properties = z.looseObject({ properties: z.record(z.string(), z.unknown()) });
const crd = z.looseObject({
  spec: z.looseObject({
    versions: z.array(
      z.looseObject({
        schema: z.looseObject({
          openAPIV3Schema: z.looseObject({
            properties: z.looseObject({
              status: z.looseObject({ properties: z.looseObject({ attempt: properties }) }),
            }),
          }),
        }),
      }),
    ),
  }),
});

/**
 * Gives the status of tasks a field `later`, and its attempt one too, as the CRD of a newer version would.
 * Resolves when the API server keeps them, with what puts the CRD back.
 */
export async function extendTaskStatus(): Promise<() => Promise<void>> {
  const { api } = controlPlane();
  const put = async (versions: unknown): Promise<void> => {
    const options = { body: { spec: { versions } }, contentType: 'application/merge-patch+json' };
    expectOk(await api.call('PATCH', CRD, options));
  };
  const before = expectOk(await api.call('GET', CRD));
  const extended = crd.parse(structuredClone(before));
  for (const { schema } of extended.spec.versions) {
    const { status } = schema.openAPIV3Schema.properties;
    status.properties['later'] = ANYTHING;
    status.properties.attempt.properties['later'] = { type: 'string' };
  }
  await put(extended.spec.versions);
  const isServed = async (): Promise<boolean> =>
    JSON.stringify((await api.call('GET', OPENAPI)).body).includes(MARK);
  await eventually('the newer schema is served', async () => ((await isServed()) ? true : undefined));
  return () => put(crd.parse(before).spec.versions);
}
