import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { stringify } from 'yaml';
import { ROOT } from '../../../hack/gen/files.ts';
import { controlPlane } from '../../support/control-plane.ts';
import type { World } from './world.ts';

/** Runs `analysis-operator callbacks replay` for a task, as a person would. Resolves with its exit code and its lines. */
export async function replay(
  { lab }: World,
  task: string,
  callbacks: object,
): Promise<{ readonly code: number | null; readonly lines: string }> {
  const file = join(await mkdtemp(join(tmpdir(), 'replay-')), 'config.yaml');
  const config = { store: { claimName: 'datasets' }, agent: { image: 'example.org/agent:test' } };
  await writeFile(file, stringify({ ...config, ...callbacks }));
  const main = join(process.env['ANALYSIS_OPERATOR_SOURCE'] ?? ROOT, 'src/main.ts');
  const what = ['callbacks', 'replay', `${lab.namespace}/${task}`];
  const where = ['--config', file, '--kubeconfig', controlPlane().kubeconfig];
  const child = spawn(process.execPath, [main, ...what, ...where], { stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
  await once(child, 'close');
  return { code: child.exitCode, lines: Buffer.concat(chunks).toString() };
}
