import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, stop } from 'esbuild';
import { BANNER } from '../build.ts';
import { NODE_BASE } from '../cluster/base-images.ts';
import { ROOT } from '../gen/files.ts';

/** Programs that stand in for other systems, by the folder of hack/ that holds their main.ts. */
export type Peer = 'elsi-stand-in' | 'callback-receiver';

/** Bundles such a program; the tag is a hash of the bundle, so a change is a new image for the cluster. */
export async function peerImage(peer: Peer) {
  const context = join(ROOT, 'build', peer);
  const outfile = join(context, 'app.mjs');
  await build({
    entryPoints: [join(ROOT, 'hack', peer, 'main.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: BANNER },
    legalComments: 'none',
    logLevel: 'warning',
  });
  // Else esbuild's service keeps running as long as whoever called this.
  await stop();
  const hash = createHash('sha256')
    .update(await readFile(outfile))
    .digest('hex');
  return {
    tag: `localhost/analysis-operator/${peer}:${hash.slice(0, 12)}`,
    dockerfile: join(import.meta.dirname, 'Dockerfile'),
    context,
    offlineBase: NODE_BASE,
  };
}
