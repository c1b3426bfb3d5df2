import { join } from 'node:path';
import process from 'node:process';
import { NODE_BASE } from '../../hack/cluster/base-images.ts';
import { run } from '../../hack/cluster/exec.ts';
import { OPERATOR_REPOSITORY } from '../../hack/demo/images.ts';
import type { Release } from '../e2e/support/site.ts';
import { previousSource } from '../support/previous.ts';

/** The previous version, bundled by its own recipe; its image has another name also where it is the same. */
export async function previousRelease(): Promise<Release> {
  const { directory: root } = await previousSource();
  const said = await run(process.execPath, [join(root, 'hack/build.ts')], { cwd: root });
  const hash = /content ([0-9a-f]+)/.exec(said)?.[1];
  if (hash === undefined) throw new Error(`hack/build.ts of the previous sources names no content: ${said}`);
  return {
    root,
    image: {
      tag: `${OPERATOR_REPOSITORY}:previous-${hash}`,
      dockerfile: join(root, 'images/operator/Dockerfile'),
      context: join(root, 'dist'),
      offlineBase: NODE_BASE,
    },
  };
}
