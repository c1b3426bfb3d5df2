import { type DeployedStandIn, deployStandIn } from '../../../hack/elsi-stand-in/deploy.ts';
import { ROOT } from '../../../hack/gen/files.ts';
import { peerImage } from '../../../hack/peers/image.ts';
import { OPERATOR, provideImages, site, TASKS, upgradeChart } from './site.ts';

/** Puts a stand-in for ELSI beside the installed chart, and lets the chart install elsi-sync for it. */
export async function connectElsi(models: Readonly<Record<string, string>>): Promise<DeployedStandIn> {
  const standIn = await deployedStandIn();
  await changeRelease(syncSettings(standIn.url, TASKS, models));
  return standIn;
}

export async function deployedStandIn(): Promise<DeployedStandIn> {
  const image = await peerImage('elsi-stand-in');
  await provideImages([image]);
  const standIn = await deployStandIn(site().kube, OPERATOR.namespace, image.tag);
  await standIn.ready();
  return standIn;
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
export const changeRelease = (settings: Readonly<Record<string, string>>): Promise<void> =>
  upgradeChart(ROOT, settings);
