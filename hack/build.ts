import { createHash } from 'node:crypto';
import { cp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { build, stop } from 'esbuild';
import { z } from 'zod';

const ROOT = join(import.meta.dirname, '..');
const manifest = z.object({ name: z.string(), version: z.string(), license: z.string() });

/** What a build left in `dist/`: `hash` names its content, so equal sources give an equal image tag. */
export type BuildResult = { readonly directory: string; readonly hash: string; readonly files: number };

// Bundled CommonJS packages call `require`, which an ES module does not have.
export const BANNER =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/**
 * Bundles src/main.ts into `dist/analysis-operator.mjs` and one chunk per part that is imported on demand, so that
 * `agent prepare` never reads the Kubernetes client. The previous `dist/` stays until the new one is complete.
 */
export async function buildOperator(root: string = ROOT): Promise<BuildResult> {
  const directory = join(root, 'dist');
  const staging = join(root, `dist.${process.pid}.tmp`);
  await rm(staging, { recursive: true, force: true });
  try {
    await bundle(root, staging);
    await writeManifest(root, staging);
    const result = await contentHash(staging);
    await rm(directory, { recursive: true, force: true });
    await rename(staging, directory);
    return { directory, ...result };
  } finally {
    await rm(staging, { recursive: true, force: true });
    // Else esbuild's service keeps running as long as whoever called this.
    await stop();
  }
}

async function bundle(root: string, outdir: string): Promise<void> {
  const { version } = await packageManifest(root);
  await build({
    define: { ANALYSIS_OPERATOR_VERSION: JSON.stringify(version) },
    entryPoints: { 'analysis-operator': join(root, 'src/main.ts') },
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunks/[name]-[hash]',
    banner: { js: BANNER },
    sourcemap: 'linked',
    sourcesContent: false,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'external',
    absWorkingDir: root,
    logLevel: 'warning',
  });
}

async function packageManifest(root: string): Promise<z.output<typeof manifest>> {
  const content: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  return manifest.parse(content);
}

// The image carries what a reader of the container needs to know about it, and nothing to install.
async function writeManifest(root: string, outdir: string): Promise<void> {
  const { name, version, license } = await packageManifest(root);
  await writeFile(
    join(outdir, 'package.json'),
    `${JSON.stringify({ name, version, license, type: 'module' }, null, 2)}\n`,
  );
  await cp(join(root, 'LICENSE'), join(outdir, 'LICENSE'));
}

async function contentHash(directory: string): Promise<{ readonly hash: string; readonly files: number }> {
  const hash = createHash('sha256');
  const files = (await readdir(directory, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  for (const file of files) {
    hash.update(`${file.slice(directory.length)}\0`);
    hash.update(await readFile(file));
  }
  return { hash: hash.digest('hex').slice(0, 12), files: files.length };
}

if (import.meta.main) {
  const started = performance.now();
  const { directory, hash, files } = await buildOperator();
  process.stdout.write(
    `${directory}: ${files} files, content ${hash}, ${Math.round(performance.now() - started)} ms\n`,
  );
}
