import { buildah } from '../../../hack/cluster/buildah.ts';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import { catalogueSpec } from '../../support/catalogue.ts';
import { model } from './work.ts';

/**
 * Installs a model of the catalogue as it is, but for what `changes` says; one lost unit and one failed attempt end the
 * task. Returns its name.
 */
export async function fromCatalogue(name: string, changes: Partial<ModelSpecInput>): Promise<string> {
  const spec = await catalogueSpec(name);
  const failure = { ...spec.failure, maxAttempts: 1, maxFailedUnits: 0 };
  return model(name, { ...spec, failure, ...changes });
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
