import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { ensureBinaries } from '../../../hack/cluster/build.ts';
import { pieceRunner } from '../../../hack/cluster/children.ts';
import { createProgress } from '../../../hack/cluster/progress.ts';
import { freePort } from '../../../hack/cluster/wait.ts';
import { apply, renderChart, type Rendered } from '../../support/chart.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';

/** Kueue's own manager with its own CRDs and webhooks, as its own chart installs them; only no pod runs it. */
export interface Kueue {
  /** Starts it again after `kill`; resolves when it answers. */
  start(): Promise<void>;
  kill(): Promise<void>;
}

const NAMESPACE = 'kueue-system';
const SERVICE = 'kueue-webhook-service';
const SECRET = 'kueue-webhook-server-cert';
/** The rotator looks for its certificate with pauses of 1, 2, 4 ... seconds. */
const READY_LIMIT_MS = 60_000;
const INSTALLED = new Set([
  'CustomResourceDefinition',
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
  'Secret',
]);

interface Place {
  readonly dir: string;
  readonly webhookPort: number;
  readonly healthPort: number;
}

/** Installs and starts Kueue in the control plane of this process, which must be one of our own. */
export async function startKueue(): Promise<Kueue> {
  const { pieces, kubeconfig } = controlPlane();
  if (!pieces) throw new Error('Kueue needs a control plane of its own: unset ANALYSIS_TEST_KUBECONFIG');
  const binaries = await ensureBinaries(['kueue'], createProgress());
  const { kueue: command = '', 'kueue-chart': chart = '' } = binaries;
  const place: Place = {
    dir: join(pieces.dir, 'kueue'),
    webhookPort: await freePort(),
    healthPort: await freePort(),
  };
  const configFile = await install(chart, place);
  const runner = pieceRunner(pieces.logs);
  const args = ['--config', configFile, '--kubeconfig', kubeconfig, '--zap-log-level=2'];
  const start = async (): Promise<void> => {
    await runner.start('kueue', command, args);
    await mountCertificate(place);
    const ready = async (): Promise<true | undefined> => {
      if (!runner.runs('kueue')) throw new Error(`Kueue ended, see ${join(pieces.logs, 'kueue.log')}`);
      const url = `http://127.0.0.1:${place.healthPort}/readyz`;
      return (await fetch(url).catch(() => undefined))?.ok ? true : undefined;
    };
    await eventually('Kueue is ready', ready, READY_LIMIT_MS);
  };
  const kill = () => runner.stop('kueue', 'SIGKILL');
  await start().catch(async (error: unknown) => {
    await kill();
    throw error;
  });
  return { start, kill };
}

/** Applies what the chart makes of our settings, but for the Deployment; returns the manager's configuration file. */
async function install(chart: string, place: Place): Promise<string> {
  const { api } = controlPlane();
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
  expectOk(await api.call('POST', '/api/v1/namespaces', { body }));
  await apply(webhookService(), { dryRun: false });
  const setting = JSON.stringify(stringify(configuration(place)));
  const settings = [`managerConfig.controllerManagerConfigYaml=${setting}`];
  const objects = await renderChart('kueue', NAMESPACE, settings, chart);
  for (const object of objects.filter(({ kind }) => INSTALLED.has(kind)))
    await apply(reachable(object, place), { dryRun: false });
  const file = join(place.dir, 'config.yaml');
  await mkdir(certificates(place), { recursive: true });
  await writeFile(file, configOf(objects));
  return file;
}

const certificates = ({ dir }: Place): string => join(dir, 'certificates');

/** The defaults of the chart, except: loopback, one replica, plain Jobs only, and no waiting for ready pods. */
function configuration(place: Place): object {
  return {
    apiVersion: 'config.kueue.x-k8s.io/v1beta2',
    kind: 'Configuration',
    namespace: NAMESPACE,
    health: { healthProbeBindAddress: `127.0.0.1:${place.healthPort}` },
    metrics: { bindAddress: '0' },
    webhook: { host: '127.0.0.1', port: place.webhookPort, certDir: certificates(place) },
    leaderElection: { leaderElect: false },
    integrations: { frameworks: ['batch/job'] },
    featureGates: { DisableWaitForPodsReady: true, VisibilityOnDemand: false },
  };
}

const configMap = z.looseObject({ data: z.record(z.string(), z.string()) });

function configOf(objects: readonly Rendered[]): string {
  const found = objects.find(({ kind }) => kind === 'ConfigMap');
  const content = configMap.parse(found).data['controller_manager_config.yaml'];
  if (content === undefined) throw new Error("Kueue's chart renders no configuration of the manager");
  return content;
}

/** No kube-proxy runs here: the API server itself follows an external name, and still checks the service's certificate. */
function webhookService(): Rendered {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: SERVICE, namespace: NAMESPACE },
    spec: { type: 'ExternalName', externalName: '127.0.0.1' },
  };
}

const clientConfig = z.looseObject({ service: z.looseObject({ name: z.literal(SERVICE) }) });

/** The same object, with the port on which the manager really listens in every reference to its webhook service. */
function reachable(object: Rendered, { webhookPort }: Place): Rendered {
  const addPort = (key: string, value: unknown): unknown => {
    const { data } = clientConfig.safeParse(value);
    return data && key === 'clientConfig'
      ? { ...data, service: { ...data.service, port: webhookPort } }
      : value;
  };
  return JSON.parse(JSON.stringify(object, addPort));
}

const secret = z.looseObject({
  data: z.object({ 'tls.crt': z.string(), 'tls.key': z.string() }),
});

/** What kubelet does for a mounted Secret: the manager makes the certificate and waits until its files appear. */
async function mountCertificate(place: Place): Promise<void> {
  const made = await eventually(
    "Kueue's certificate",
    async () => {
      const path = `/api/v1/namespaces/${NAMESPACE}/secrets/${SECRET}`;
      return secret.safeParse(expectOk(await controlPlane().api.call('GET', path))).data?.data;
    },
    READY_LIMIT_MS,
  );
  for (const [name, content] of Object.entries(made))
    await writeFile(join(certificates(place), name), Buffer.from(content, 'base64'));
}
