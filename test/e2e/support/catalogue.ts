import { buildah } from '../../../hack/cluster/buildah.ts';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import { catalogueSpec } from '../../support/catalogue.ts';
import { provideImages, testImage } from './site.ts';
import { model } from './work.ts';

/** Models of the catalogue that stand-ins are made of -> directory of the stand-in in test/images/labs. */
const STAND_INS: Readonly<Record<string, string>> = {
  'vtc-1-0': 'vtc',
  'vtc-2-0': 'vtc-2',
  'alice-1-0': 'alice',
  'w2v2-1-0': 'w2v2',
};

/** Builds the stand-ins, and puts entries of the catalogue before them: only image and resources are not the entry's own. */
export async function installStandIns(): Promise<void> {
  const images = Object.entries(STAND_INS).map(([entry, directory]) => {
    const tag = `localhost/analysis-operator/${directory}-stand-in:test`;
    return { entry, image: testImage(`labs/${directory}`, tag) };
  });
  await provideImages(images.map(({ image }) => image));
  for (const { entry, image } of images)
    await fromCatalogue(entry, { image: image.tag, resources: { cpu: '50m', memory: '1Gi' } });
}

/** What the real ChildProject needs for minutes of sound, on a machine that others use too. */
export const CHILDPROJECT_RESOURCES = { cpu: '100m', cpuLimit: '1', memory: '1Gi' };

/**
 * Installs a model of the catalogue as it is, but for what `changes` says; one lost unit and one failed attempt end the
 * task. Returns the name that `installed` gives it.
 */
export async function fromCatalogue(name: string, changes: Partial<ModelSpecInput>): Promise<string> {
  const spec = await catalogueSpec(name);
  const failure = { ...spec.failure, maxAttempts: 1, maxFailedUnits: 0 };
  return model(name, { ...spec, failure, ...changes });
}

/** Name under which the tests install an entry. */
export const installed = (entry: string): string => `e2e-${entry}`;

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
