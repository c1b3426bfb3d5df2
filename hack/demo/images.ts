import { join } from 'node:path';
import { buildOperator } from '../build.ts';
import { NODE_BASE } from '../cluster/base-images.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** An image to build. `offlineBase` replaces the base of the Dockerfile where nothing can be pulled. */
export type ImageSpec = {
  readonly tag: string;
  readonly dockerfile: string;
  readonly context: string;
  readonly offlineBase?: string;
};

export const OPERATOR_REPOSITORY = 'localhost/analysis-operator';

/** The images of the demo's models carry the tags that the catalogue names. */
export const MODEL_IMAGES: readonly ImageSpec[] = [
  modelImage('silero-vad', '6.2.3'),
  modelImage('pocketsphinx', '5.1.1'),
];

/** ChildProject, which computes acoustics and metrics; not a part of the demo. */
export const CHILDPROJECT_IMAGE: ImageSpec = modelImage('childproject', '0.4.6');

function modelImage(name: string, version: string): ImageSpec {
  const context = join(ROOT, 'images', 'models', name);
  return {
    tag: `localhost/analysis-operator/${name}:${version}`,
    dockerfile: join(context, 'Dockerfile'),
    context,
  };
}

/** Bundles the operator; the tag is a hash of the bundle, so a rebuild is a new image for the cluster. */
export async function operatorImage(): Promise<ImageSpec & { readonly version: string }> {
  const { directory, hash } = await buildOperator();
  return {
    tag: `${OPERATOR_REPOSITORY}:${hash}`,
    version: hash,
    dockerfile: join(ROOT, 'images', 'operator', 'Dockerfile'),
    context: directory,
    offlineBase: NODE_BASE,
  };
}
