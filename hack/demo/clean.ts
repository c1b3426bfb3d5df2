import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cacheDir } from '../cluster/cache.ts';
import { succeeds, tryRun } from '../cluster/exec.ts';
import { parseOptions } from '../cluster/options.ts';
import { GROUP } from '../../src/api/keys.ts';
import { helmPath } from '../helm.ts';
import { accessTo, clusterCommand, nativeStore } from './cluster.ts';
import { createKube, type Access } from './kube.ts';
import { NAMESPACE, RELEASE, SYSTEM_NAMESPACE, VOLUME } from './names.ts';
import { forgetState, readState } from './state.ts';
import { POCKETSPHINX, SILERO } from './tasks.ts';

/** Removes what the demo made: all of its objects, the dataset, and the cluster when the demo started it. */
export async function clean(write: (line: string) => void): Promise<void> {
  const options = parseOptions({});
  const state = await readState(options.name);
  if (state === undefined) {
    write(`nothing to remove: no demo has run on a cluster named ${options.name}`);
    return;
  }
  if (state.started) {
    write(`==> removing the ${state.driver} cluster that the demo started`);
    await clusterCommand(['down', '--driver', state.driver]);
  } else {
    await removeObjects(accessTo(options), { write, kinds: !state.kindsBefore });
  }
  write('==> removing the dataset and what was published');
  if (state.driver === 'native')
    await rm(dirname(nativeStore(options.name)), { recursive: true, force: true });
  await rm(join(cacheDir(), 'demo', 'dataset'), { recursive: true, force: true });
  await forgetState(options.name);
  write(`removed; downloads and built binaries stay in ${cacheDir()} for the next time`);
}

type Removal = { readonly write: (line: string) => void; readonly kinds: boolean };

// Tasks go first, while the operator still runs: it ends their pods and lets their finalizers go.
async function removeObjects(access: Access, { write, kinds }: Removal): Promise<void> {
  const kube = createKube(access);
  const remove = async (what: string, args: readonly string[]) => {
    write(`==> removing ${what}`);
    const { code, stderr } = await kube.attempt(['delete', '--ignore-not-found', '--timeout=90s', ...args]);
    if (code !== 0 && !stderr.includes("the server doesn't have a resource type"))
      write(`    ${stderr.trim()}`);
  };
  await remove('tasks', ['analysistasks', '--all', '-n', NAMESPACE]);
  await remove(`namespace ${NAMESPACE}`, ['namespace', NAMESPACE]);
  await remove('the shared volume', ['persistentvolume', VOLUME]);
  await remove('the catalogue', ['analysismodels', SILERO, POCKETSPHINX]);
  await uninstallChart(access, write);
  await remove(`namespace ${SYSTEM_NAMESPACE}`, ['namespace', SYSTEM_NAMESPACE]);
  if (kinds) await remove('the kinds', ['crd', `analysistasks.${GROUP}`, `analysismodels.${GROUP}`]);
}

async function uninstallChart(access: Access, write: (line: string) => void): Promise<void> {
  write(`==> uninstalling the chart`);
  const helm = await helmPath();
  const options = { env: { KUBECONFIG: access.kubeconfig } };
  const release = [RELEASE, '-n', SYSTEM_NAMESPACE];
  if (!(await succeeds(helm, ['status', ...release], options))) return;
  const { code, stderr } = await tryRun(
    helm,
    ['uninstall', ...release, '--wait', '--timeout', '90s'],
    options,
  );
  if (code !== 0) write(`    ${stderr.trim()}`);
}
