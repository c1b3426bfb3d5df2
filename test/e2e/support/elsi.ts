import { join } from 'node:path';
import { run } from '../../../hack/cluster/exec.ts';
import { buildImage, loadImage } from '../../../hack/cluster/images.ts';
import { parseOptions } from '../../../hack/cluster/options.ts';
import { createProgress } from '../../../hack/cluster/progress.ts';
import { type DeployedStandIn, deployStandIn } from '../../../hack/elsi-stand-in/deploy.ts';
import { peerImage } from '../../../hack/peers/image.ts';
import { ROOT } from '../../../hack/gen/files.ts';
import { helmPath } from '../../../hack/helm.ts';
import { OPERATOR, site, TASKS } from './site.ts';

/** Puts a stand-in for ELSI beside the installed chart, and lets the chart install elsi-sync for it. */
export async function connectElsi(models: Readonly<Record<string, string>>): Promise<DeployedStandIn> {
  const standIn = await deployStandIn(site().kube, OPERATOR.namespace, await loadStandIn());
  await standIn.ready();
  await installSync(standIn.url, models);
  return standIn;
}

async function loadStandIn(): Promise<string> {
  const { name, state } = parseOptions({ driver: 'native' });
  const { tag, dockerfile: file, context, offlineBase } = await peerImage('elsi-stand-in');
  const progress = createProgress();
  await buildImage({ tag, file, context, buildArgs: { BASE: offlineBase } }, 'native', progress);
  await loadImage(tag, { driver: 'native', name, state }, progress);
  return tag;
}

function installSync(baseUrl: string, models: Readonly<Record<string, string>>): Promise<void> {
  return changeRelease(syncSettings(baseUrl, TASKS, models));
}

/** Values of the chart for elsi-sync with an ELSI at this address. */
export function syncSettings(
  baseUrl: string,
  namespace: string,
  models: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return {
    'elsi.enabled': 'true',
    'elsi.replicas': '1',
    'elsi.config.elsi.baseUrl': `${baseUrl}/api`,
    'elsi.config.intervalSeconds': '1',
    'elsi.config.namespace': namespace,
    ...Object.fromEntries(
      Object.entries(models).map(([name, model]) => [`elsi.config.models.${name}`, model]),
    ),
  };
}

/** Changes values of the installed chart; it keeps whatever else it was installed with. */
export async function changeRelease(settings: Readonly<Record<string, string>>): Promise<void> {
  const sets = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const chart = join(ROOT, 'charts/analysis-operator');
  const release = ['upgrade', OPERATOR.namespace, chart, '--namespace', OPERATOR.namespace];
  await run(await helmPath(), [...release, '--reuse-values', '--wait', '--timeout', '120s', ...sets], {
    env: { KUBECONFIG: site().kubeconfig },
    timeoutMs: 180_000,
  });
}
