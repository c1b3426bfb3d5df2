import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { run, succeeds } from './exec.ts';
import type { Options } from './options.ts';
import type { Progress } from './progress.ts';

const kubeconfigOf = (options: Options): string => join(options.state, 'kubeconfig');

/** Creates a kind cluster, or finds it, and gives its nodes fake GPUs. */
export async function kindUp(options: Options, progress: Progress): Promise<void> {
  progress.say('driver kind (written against its documentation; this project tests the native driver)');
  if (!(await succeeds('kind', ['version'])))
    throw new Error(
      'Docker runs, but kind is missing: install it (https://kind.sigs.k8s.io) or use --driver native',
    );
  await mkdir(options.state, { recursive: true });
  const common = ['--name', options.name, '--kubeconfig', kubeconfigOf(options)];
  if ((await kindClusters()).includes(options.name)) await run('kind', ['export', 'kubeconfig', ...common]);
  else
    await progress.step(`creating kind cluster ${options.name}`, () =>
      run('kind', ['create', 'cluster', '--wait', '180s', ...common]),
    );
  const gpus = { 'nvidia.com/gpu': String(options.gpus) };
  const patch = JSON.stringify({ status: { capacity: gpus, allocatable: gpus } });
  const kubeconfig = ['--kubeconfig', kubeconfigOf(options)];
  const nodes = (await run('kubectl', [...kubeconfig, 'get', 'nodes', '-o', 'name'])).trim().split('\n');
  for (const node of nodes)
    await run('kubectl', [
      ...kubeconfig,
      'patch',
      node,
      '--subresource=status',
      '--type=strategic',
      '-p',
      patch,
    ]);
}

/** Deletes the kind cluster and what was stored about it. */
export async function kindDown(options: Options, progress: Progress): Promise<void> {
  if ((await kindClusters()).includes(options.name))
    await run('kind', ['delete', 'cluster', '--name', options.name]);
  await rm(options.state, { recursive: true, force: true });
  progress.say(`kind cluster ${options.name} is gone`);
}

async function kindClusters(): Promise<readonly string[]> {
  return (await run('kind', ['get', 'clusters'])).trim().split('\n');
}

/** Checks that a context of the user's kubeconfig answers, and stores it alone as this cluster's kubeconfig. */
export async function currentUp(options: Options, progress: Progress): Promise<void> {
  if (!(await succeeds('kubectl', ['version', '--client'])))
    throw new Error('--driver current needs kubectl on the PATH');
  const context = options.context === undefined ? [] : ['--context', options.context];
  const view = await run('kubectl', ['config', 'view', '--minify', '--flatten', '--raw', ...context]);
  await mkdir(options.state, { recursive: true });
  await writeFile(kubeconfigOf(options), view, { mode: 0o600 });
  await run('kubectl', ['--kubeconfig', kubeconfigOf(options), 'get', 'namespace', 'default'], {
    timeoutMs: 20_000,
  });
  progress.say(
    `using context ${options.context ?? 'that is current'}: nothing was created, and down will delete nothing in it`,
  );
}

/** Forgets the stored kubeconfig; the cluster itself is the user's. */
export async function currentDown(options: Options, progress: Progress): Promise<void> {
  await rm(options.state, { recursive: true, force: true });
  progress.say('the cluster is yours and stays as it is');
}

const Nodes = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) });

/** One line about a cluster that only its kubeconfig tells about. */
export async function kubectlStatus(
  options: Options,
): Promise<{ readonly up: boolean; readonly lines: readonly string[] }> {
  if (!existsSync(kubeconfigOf(options))) return { up: false, lines: [`no cluster in ${options.state}`] };
  const text = await run('kubectl', ['--kubeconfig', kubeconfigOf(options), 'get', 'nodes', '-o', 'json'], {
    timeoutMs: 20_000,
  });
  const names = Nodes.parse(JSON.parse(text)).items.map((node) => node.metadata.name);
  return { up: true, lines: [`nodes: ${names.join(', ')}`] };
}
