import { mkdtemp } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { parseOptions } from '../../hack/cluster/options.ts';
import { readSettings } from '../../hack/cluster/settings.ts';
import { callbackValues } from '../../hack/demo/callbacks.ts';
import { type StandIn, startStandIn } from '../../hack/elsi-stand-in/server.ts';
import type { Behaviour } from '../../hack/storm/plan.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { auditPosition } from '../faults/rig/history.ts';
import { openSink, type Sink } from '../faults/rig/sink.ts';
import { changeRelease, syncSettings } from '../e2e/support/elsi.ts';
import { OPERATOR, site, STORM } from '../e2e/support/site.ts';
import { model } from '../e2e/support/work.ts';
import { layDatasets } from './datasets.ts';

/** What a storm goes over: the installed chart with all its parts, and an ELSI and a receiver of this process. */
export interface Ground {
  readonly elsi: Elsi;
  readonly receiver: Sink;
  /** Directory of the cluster's files. */
  readonly cluster: string;
  readonly auditLog: string;
  /** Where the audit log stood before. */
  readonly auditFrom: number;
}

/** The stand-in, which may be away for a while and comes back with what it knew. */
export interface Elsi {
  now(): StandIn;
  down(): Promise<void>;
  up(): Promise<void>;
}

const SECRET = 'storm-hook';
const RUN = ['/opt/sh-model/model.sh', '{input}', '{output}'];
const PATIENT: ModelSpecInput['failure'] = { maxAttempts: 4, backoffSeconds: 10 };

/** Models of the storm by the behaviour that they show. */
const MODELS: Readonly<Partial<Record<Behaviour, Partial<ModelSpecInput>>>> = {
  good: { failure: PATIENT },
  slow: {
    run: { per: 'File', command: [...RUN, 'slow', '{param.seconds}'] },
    parameters: [{ name: 'seconds', type: 'Integer', default: '20', minimum: 1, maximum: 60 }],
    failure: PATIENT,
  },
  partial: { failure: { ...PATIENT, maxFailedUnits: 1 } },
  late: { requires: ['annotations/ready/*.csv'], failure: PATIENT },
};

/** The AnalysisModel for a behaviour; those without one of their own have what is wrong in their dataset. */
export const modelOf = (behaviour: Behaviour): string =>
  `e2e-storm-${Object.hasOwn(MODELS, behaviour) ? behaviour : behaviour === 'unknown' ? 'unknown' : 'good'}`;

export async function openGround(): Promise<Ground> {
  const { state } = parseOptions({ driver: 'native' });
  const settings = await readSettings(state);
  if (!settings) throw new Error(`there is no cluster in ${state}`);
  const auditLog = join(state, 'logs/audit.log');
  for (const [name, spec] of Object.entries(MODELS)) await model(`storm-${name}`, spec);
  await layDatasets();
  const host = bridgeAddress(settings.bridge);
  const receiver = await openSink(host);
  const elsi = await openElsi(host);
  await installAll(elsi, receiver);
  return { elsi, receiver, cluster: state, auditLog, auditFrom: await auditPosition(auditLog) };
}

/** Where pods reach this machine. Its own address will not do for callbacks, if it is a reserved one. */
function bridgeAddress(bridge: string): string {
  const found = networkInterfaces()[bridge]?.find(({ family }) => family === 'IPv4');
  if (!found) throw new Error(`the bridge ${bridge} of the cluster has no IPv4 address`);
  return found.address;
}

const CREDENTIALS = { client_id: 'storm', client_secret: randomBytes(24).toString('base64') };

async function openElsi(host: string): Promise<Elsi> {
  const file = join(await mkdtemp(join(tmpdir(), 'elsi-')), 'tasks.json');
  const { client_id: clientId, client_secret: clientSecret } = CREDENTIALS;
  // Short tokens, so that they are renewed all the time.
  const options = { host, file, clientId, clientSecret, tokenSeconds: 90 };
  let standIn = await startStandIn(options);
  const port = Number(new URL(standIn.url).port);
  return {
    now: () => standIn,
    down: () => standIn.close(),
    up: async () => void (standIn = await startStandIn({ ...options, port })),
  };
}

/** Leases, replicas and pauses as the chart has them, not as the end-to-end tests shorten them. */
const AS_INSTALLED = {
  'config.leaderElection.leaseDurationSeconds': '15',
  'config.leaderElection.renewDeadlineSeconds': '10',
  'config.leaderElection.retryPeriodSeconds': '2',
  'config.progress.intervalSeconds': '5',
  'elsi.replicas': '2',
  'elsi.config.intervalSeconds': '5',
};

async function installAll(elsi: Elsi, receiver: Sink): Promise<void> {
  const token = randomBytes(32).toString('hex');
  await site().kube.apply([
    secretOf(OPERATOR.namespace, 'elsi-credentials', CREDENTIALS),
    secretOf(OPERATOR.namespace, SECRET, { secret: receiver.secret }),
    secretOf(OPERATOR.namespace, 'analysis-store-agent', { token }),
    secretOf(STORM, 'analysis-store-agent', { token }),
  ]);
  const models = Object.fromEntries(
    (['good', 'slow', 'partial', 'late'] as const).map((behaviour) => [
      `storm_${behaviour}`,
      modelOf(behaviour),
    ]),
  );
  const settings = {
    ...syncSettings(elsi.now().url, STORM, models),
    ...AS_INSTALLED,
    ...callbackValues(receiver.url, SECRET),
    // A task that names no model of the catalogue waits for one this long.
    'config.pendingDeadlineSeconds': '120',
    'config.storeAgent.sweepIntervalSeconds': '60',
    'config.storeAgent.settledStagingSeconds': '600',
    'config.storeAgent.unknownStagingSeconds': '600',
    'storeAgent.enabled': 'true',
    'storeAgent.namespaces': `{${STORM}}`,
  };
  await changeRelease(settings);
  // Nobody resolves names of Services in this cluster.
  await changeRelease({ 'config.storeAgent.urlTemplate': `http://${await storeAgentAddress()}:9809` });
}

const secretOf = (namespace: string, name: string, stringData: Readonly<Record<string, string>>): object => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace },
  stringData,
});

const services = z.object({
  items: z.array(
    z.object({ metadata: z.object({ name: z.string() }), spec: z.object({ clusterIP: z.string() }) }),
  ),
});

async function storeAgentAddress(): Promise<string> {
  const { items } = services.parse(await site().kube.get(`/api/v1/namespaces/${STORM}/services`));
  const found = items.find(({ metadata }) => metadata.name.includes('store-agent'));
  if (!found) throw new Error(`no store agent is installed in ${STORM}`);
  return found.spec.clusterIP;
}
