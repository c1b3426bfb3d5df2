import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { buildah } from '../../../hack/cluster/buildah.ts';
import { ROOT } from '../../../hack/gen/files.ts';
import { type ModelSpecInput, modelSpec } from '../../../src/api/model.ts';
import { model } from './work.ts';

const entry = z.object({ spec: z.custom<ModelSpecInput>((spec) => modelSpec.safeParse(spec).success) });

/**
 * Installs a model of the catalogue as it is, but for what `changes` says; one lost unit and one failed attempt end the
 * task. Returns its name.
 */
export async function fromCatalogue(file: string, changes: Partial<ModelSpecInput>): Promise<string> {
  const { spec } = entry.parse(parse(await readFile(join(ROOT, 'models', `${file}.yaml`), 'utf8')));
  const failure = { ...spec.failure, maxAttempts: 1, maxFailedUnits: 0 };
  return model(file, { ...spec, failure, ...changes });
}

export interface OutsideRun {
  readonly image: string;
  /** Directory of this machine -> where the program sees it. */
  readonly mounts: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

/** Runs a program with what is in an image, without the cluster: nothing of the operator stands between. */
export async function runOutside({ image, mounts, command }: OutsideRun): Promise<string> {
  const container = (await buildah(['from', '--pull-never', image])).trim();
  try {
    const volumes = Object.entries(mounts).flatMap(([from, to]) => ['-v', `${from}:${to}`]);
    return await buildah(['run', '--isolation', 'chroot', ...volumes, container, '--', ...command]);
  } finally {
    await buildah(['rm', container]);
  }
}
