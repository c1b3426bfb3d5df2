import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';

const sample = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({}),
  status: z.looseObject({}).optional(),
});
/** A manifest as it is in a YAML file, unchecked but for its outline. */
export type Sample = z.infer<typeof sample>;

/** Reads `test/integration/samples/<name>.yaml`. */
export function readSample(name: string): Sample {
  const file = new URL(`../integration/samples/${name}.yaml`, import.meta.url);
  return sample.parse(parse(readFileSync(file, 'utf8')));
}
