import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { ROOT } from '../../hack/gen/files.ts';
import { type ModelSpecInput, modelSpec } from '../../src/api/model.ts';

const entry = z.object({ spec: z.custom<ModelSpecInput>((spec) => modelSpec.safeParse(spec).success) });

/** spec of a model of the catalogue, as it is written in models/. */
export async function catalogueSpec(name: string): Promise<ModelSpecInput> {
  return entry.parse(parse(await readFile(join(ROOT, 'models', `${name}.yaml`), 'utf8'))).spec;
}
