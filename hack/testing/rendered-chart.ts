import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Deployment, type IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { ROOT } from '../gen/files.ts';
import { helm } from '../helm.ts';

export const CHART = join(ROOT, 'charts', 'analysis-operator');

const manifest = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
export type Manifest = z.infer<typeof manifest>;

export async function render(...settings: readonly string[]): Promise<readonly Manifest[]> {
  const sets = settings.flatMap((setting) => ['--set-json', setting]);
  const text = await helm(['template', 'analysis-operator', CHART, '--namespace', 'analysis', ...sets]);
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((object) => object !== null)
    .map((object) => manifest.parse(object));
}

export const names = (objects: readonly Manifest[], kind: string): readonly string[] =>
  objects
    .filter((object) => object.kind === kind)
    .map(({ metadata }) => [metadata.namespace, metadata.name].filter((part) => part !== undefined).join('/'))
    .toSorted();

export function only(objects: readonly Manifest[], kind: string, name = 'analysis-operator'): Manifest {
  const [found, ...more] = objects.filter((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found !== undefined && more.length === 0, `one ${kind} ${name}`);
  return found;
}

export function deployment(objects: readonly Manifest[]): IDeployment {
  const object: unknown = only(objects, 'Deployment');
  assert.ok(Deployment.is(object));
  return object;
}
