import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole';
import { ClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding';
import { Role } from 'kubernetes-models/rbac.authorization.k8s.io/v1/Role';
import { RoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding';
import { Deployment, type IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { PriorityClass } from 'kubernetes-models/scheduling.k8s.io/v1/PriorityClass';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import { describe, it } from 'mocha';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { type Config, configSchema } from '../src/config.ts';
import { ROOT } from './gen/files.ts';
import { helm } from './helm.ts';

const CHART = join(ROOT, 'charts', 'analysis-operator');

const manifest = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
type Manifest = z.infer<typeof manifest>;

type Kind<T> = { new (data: T): { validate(): void }; is(value: unknown): value is T };

/** Validates objects of one kind and says whether this was one. */
const check =
  <T>(kind: Kind<T>) =>
  (object: Manifest): boolean => {
    if (!kind.is(object)) return false;
    new kind(object).validate();
    return true;
  };

/** Everything that the chart renders but CRDs, which a real API server checks elsewhere. */
const CHECKS = [
  check(ClusterRole),
  check(ClusterRoleBinding),
  check(ConfigMap),
  check(Deployment),
  check(NetworkPolicy),
  check(PodDisruptionBudget),
  check(PriorityClass),
  check(Role),
  check(RoleBinding),
  check(Service),
  check(ServiceAccount),
];

async function render(...settings: readonly string[]): Promise<readonly Manifest[]> {
  const sets = settings.flatMap((setting) => ['--set-json', setting]);
  const text = await helm(['template', 'analysis-operator', CHART, '--namespace', 'analysis', ...sets]);
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((object) => object !== null)
    .map((object) => manifest.parse(object));
}

const names = (objects: readonly Manifest[], kind: string): readonly string[] =>
  objects
    .filter((object) => object.kind === kind)
    .map(({ metadata }) => [metadata.namespace, metadata.name].filter((part) => part !== undefined).join('/'))
    .toSorted();

function only(objects: readonly Manifest[], kind: string, name = 'analysis-operator'): Manifest {
  const [found, ...more] = objects.filter((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found !== undefined && more.length === 0, `one ${kind} ${name}`);
  return found;
}

function deployment(objects: readonly Manifest[]): IDeployment {
  const object: unknown = only(objects, 'Deployment');
  assert.ok(Deployment.is(object));
  return object;
}

async function checksum(...settings: string[]): Promise<unknown> {
  const { spec } = deployment(await render(...settings));
  return spec?.template.metadata?.annotations?.['checksum/config'];
}

const ruleList = z.array(
  z.object({ apiGroups: z.array(z.string()), resources: z.array(z.string()), verbs: z.array(z.string()) }),
);

/** The rules of a role as lines such as `batch/jobs: get list`. */
function granted(role: Manifest): readonly string[] {
  return ruleList
    .parse(role['rules'])
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) => resources.map((resource) => `${group}/${resource}: ${verbs.join(' ')}`)),
    );
}

const MODEL_RIGHTS = [
  'analysis.elsi.dev/analysismodels: get list watch',
  'analysis.elsi.dev/analysismodels/status: update',
];
const TASK_RIGHTS = [
  'analysis.elsi.dev/analysistasks: get list watch delete',
  'analysis.elsi.dev/analysistasks/status: update',
  'analysis.elsi.dev/analysistasks/finalizers: update',
  'batch/jobs: get list watch create delete',
  '/pods: get list watch delete',
  '/persistentvolumeclaims: get list watch',
  'events.k8s.io/events: create patch',
  '/events: list',
];

describe('the chart', () => {
  it('renders objects that are valid for their kind', async () => {
    const objects = await render(
      'networkPolicy={"enabled":true,"taskNamespaces":["lab1"]}',
      'config.namespaces=["lab1"]',
      'storeAgent.enabled=true',
    );
    const seen = new Set<unknown>();
    for (const object of objects) {
      const matching = CHECKS.filter((one) => one(object));
      assert.ok(matching.length === 1 || object.kind === 'CustomResourceDefinition', object.kind);
      seen.add(matching[0] ?? object.kind);
    }
    assert.equal(seen.size, CHECKS.length + 1, 'every kind is rendered');
  });

  it('passes helm lint with warnings as errors', async () => {
    assert.match(await helm(['lint', '--strict', CHART]), /1 chart\(s\) linted, 0 chart\(s\) failed/);
  });

  it('keeps the CRDs when the release is removed', async () => {
    const crds = (await render()).filter(({ kind }) => kind === 'CustomResourceDefinition');
    assert.equal(crds.length, 2);
    for (const { metadata } of crds)
      assert.deepEqual(metadata['annotations'], { 'helm.sh/resource-policy': 'keep' });
    assert.deepEqual(names(await render('crds.install=false'), 'CustomResourceDefinition'), []);
  });

  it('runs the operator restricted, probed and with its identity', async () => {
    const { spec } = deployment(await render());
    const pod = spec?.template.spec;
    const [container] = pod?.containers ?? [];
    assert.equal(spec?.replicas, 2);
    assert.deepEqual(pod?.securityContext, {
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    assert.deepEqual(container?.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    assert.deepEqual(container?.args, ['controller', '--config', '/etc/analysis-operator/config.yaml']);
    assert.deepEqual(
      [container?.livenessProbe?.httpGet, container?.readinessProbe?.httpGet],
      [
        { path: '/livez', port: 'health' },
        { path: '/readyz', port: 'health' },
      ],
    );
    assert.deepEqual(
      container?.env?.map(({ name }) => name),
      ['POD_NAME', 'POD_NAMESPACE'],
    );
    assert.ok(container?.resources?.requests !== undefined && container.resources.limits !== undefined);
  });

  it('replaces the pods when the configuration changes', async () => {
    assert.notEqual(await checksum(), await checksum('config.concurrency=3'));
  });

  it('has no disruption budget for a single replica, which could never be drained', async () => {
    assert.deepEqual(names(await render(), 'PodDisruptionBudget'), ['analysis/analysis-operator']);
    assert.deepEqual(names(await render('replicas=1'), 'PodDisruptionBudget'), []);
  });
});

describe('the store agent of the chart', () => {
  const ON = ['storeAgent.enabled=true', 'config.namespaces=["lab1","lab2"]'] as const;
  const agentOf = (objects: readonly Manifest[]): IDeployment => {
    const object: unknown = objects.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.namespace === 'lab1',
    );
    assert.ok(Deployment.is(object));
    return object;
  };

  it('is off by default', async () => {
    const objects = await render();
    assert.deepEqual(names(objects, 'Deployment'), ['analysis/analysis-operator']);
    assert.doesNotMatch(JSON.stringify(objects), /store-agent/);
  });

  it('runs once per namespace, behind a Service', async () => {
    const objects = await render(...ON);
    const wanted = ['lab1/analysis-operator-store-agent', 'lab2/analysis-operator-store-agent'];
    assert.deepEqual(names(objects, 'Deployment'), ['analysis/analysis-operator', ...wanted]);
    assert.deepEqual(names(objects, 'Service'), ['analysis/analysis-operator', ...wanted]);
    const other = await render(...ON, 'storeAgent.namespaces=["lab2"]');
    assert.deepEqual(names(other, 'Service'), ['analysis/analysis-operator', wanted[1]]);
  });

  it('must be told where it runs', async () => {
    await assert.rejects(
      render('storeAgent.enabled=true'),
      /needs storeAgent\.namespaces or config\.namespaces/,
    );
  });

  it('runs as the user of the tasks, restricted, and without a token of Kubernetes', async () => {
    const pod = agentOf(await render(...ON, 'config.identity.runAsUser=1234')).spec?.template.spec;
    assert.equal(pod?.automountServiceAccountToken, false);
    assert.equal(pod.serviceAccountName, undefined);
    assert.deepEqual(pod.securityContext, {
      runAsNonRoot: true,
      runAsUser: 1234,
      runAsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    const containers = [...(pod.initContainers ?? []), ...pod.containers];
    assert.deepEqual(
      containers.map(({ name }) => name),
      ['selftest', 'store-agent'],
    );
    for (const { securityContext } of containers)
      assert.deepEqual(securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
  });

  it('sees the claim of the tasks and the shared secret, and nothing else', async () => {
    const pod = agentOf(await render(...ON, 'config.store.claimName="nights"')).spec?.template.spec;
    assert.deepEqual(pod?.volumes, [
      { name: 'store', persistentVolumeClaim: { claimName: 'nights' } },
      { name: 'token', secret: { secretName: 'analysis-store-agent' } },
    ]);
    assert.deepEqual(pod.containers[0]?.args, [
      'agent',
      'serve',
      '--token-file=/etc/analysis-store-agent/token',
      '--concurrency=3',
      '--milliseconds=15000',
    ]);
  });

  it('proves the file system where it is told to, or not at all', async () => {
    const args = async (...settings: string[]) =>
      agentOf(await render(...ON, ...settings)).spec?.template.spec?.initContainers?.[0]?.args;
    assert.deepEqual(await args(), ['agent', 'selftest', '/store']);
    assert.deepEqual(await args('storeAgent.selfTest.directory="lab 1/scratch"'), [
      'agent',
      'selftest',
      '/store/lab 1/scratch',
    ]);
    assert.equal(await args('storeAgent.selfTest.enabled=false'), undefined);
  });

  it('answers the operator only, where there are network policies', async () => {
    assert.deepEqual(names(await render(...ON), 'NetworkPolicy'), []);
    const objects = await render(...ON, 'networkPolicy.enabled=true');
    const policy = objects.find(
      ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === 'lab1',
    );
    assert.ok(NetworkPolicy.is(policy));
    assert.deepEqual(policy.spec?.egress, []);
    assert.deepEqual(policy.spec?.ingress?.[0]?.from?.[0]?.podSelector?.matchLabels, {
      'app.kubernetes.io/name': 'analysis-operator',
      'app.kubernetes.io/instance': 'analysis-operator',
      'app.kubernetes.io/component': 'controller',
    });
  });

  it('is told to the operator, which starts without the secret too', async () => {
    const objects = await render(...ON);
    const text = z.looseObject({ data: z.object({ 'config.yaml': z.string() }) });
    const { data } = text.parse(only(objects, 'ConfigMap'));
    const { storeAgent } = configSchema.parse(parse(data['config.yaml']));
    assert.equal(storeAgent.urlTemplate, 'http://analysis-operator-store-agent.{namespace}.svc:9809');
    assert.equal(storeAgent.tokenFile, '/etc/analysis-store-agent/token');
    const volumes = deployment(objects).spec?.template.spec?.volumes;
    assert.deepEqual(volumes?.find(({ name }) => name === 'store-agent-token')?.secret, {
      secretName: 'analysis-store-agent',
      optional: true,
    });
  });
});

describe('the rights that the chart grants', () => {
  it('are exactly these, everywhere, when no namespace is named', async () => {
    const objects = await render();
    assert.deepEqual(granted(only(objects, 'ClusterRole')), [...MODEL_RIGHTS, ...TASK_RIGHTS]);
    assert.deepEqual(names(objects, 'Role'), ['analysis/analysis-operator-leader']);
    assert.deepEqual(granted(only(objects, 'Role', 'analysis-operator-leader')), [
      'coordination.k8s.io/leases: get create update',
    ]);
  });

  it('end at the namespaces that are named', async () => {
    const objects = await render('config.namespaces=["lab1","lab2"]');
    assert.deepEqual(granted(only(objects, 'ClusterRole')), MODEL_RIGHTS);
    assert.deepEqual(names(objects, 'Role'), [
      'analysis/analysis-operator-leader',
      'lab1/analysis-operator',
      'lab2/analysis-operator',
    ]);
    for (const role of objects.filter(
      ({ kind, metadata }) => kind === 'Role' && metadata.namespace !== 'analysis',
    ))
      assert.deepEqual(granted(role), TASK_RIGHTS);
    assert.deepEqual(names(objects, 'RoleBinding'), names(objects, 'Role'));
  });

  it('let users ask for tasks but never write how one ended, and only read the catalogue', async () => {
    const objects = await render();
    const edit = only(objects, 'ClusterRole', 'analysis-operator-tasks-edit');
    assert.deepEqual(granted(edit), [
      'analysis.elsi.dev/analysistasks: get list watch create update patch delete deletecollection',
    ]);
    assert.deepEqual(granted(only(objects, 'ClusterRole', 'analysis-operator-tasks-view')), [
      'analysis.elsi.dev/analysistasks: get list watch',
    ]);
    assert.deepEqual(granted(only(objects, 'ClusterRole', 'analysis-operator-models-view')), [
      'analysis.elsi.dev/analysismodels: get list watch',
    ]);
  });

  it('contain no wildcard', async () => {
    const roles = (await render()).filter(({ kind }) => kind.endsWith('Role'));
    for (const role of roles) assert.doesNotMatch(granted(role).join('\n'), /\*/);
  });
});

describe('the configuration that the chart renders', () => {
  const configMap = z.looseObject({ data: z.object({ 'config.yaml': z.string() }) });
  const config = async (...settings: string[]): Promise<Config> => {
    const object = configMap.parse(only(await render(...settings), 'ConfigMap'));
    return configSchema.parse(parse(object.data['config.yaml']));
  };

  it('repeats the defaults of the operator, but for the names that only the chart knows', async () => {
    const minimal = { store: { claimName: 'analysis-store' }, agent: { image: 'analysis-operator:0.1.0' } };
    const { leaderElection, log, priorityClasses, ...rest } = configSchema.parse(minimal);
    const rendered = await config();
    assert.deepEqual(rendered, {
      ...rest,
      leaderElection: { ...leaderElection, namespace: 'analysis' },
      log: { ...log, format: 'json' },
      priorityClasses: { Low: 'analysis-low', Normal: 'analysis-normal', High: 'analysis-high' },
    });
    assert.deepEqual(Object.keys(priorityClasses), Object.keys(rendered.priorityClasses));
  });

  it('fills in the image, the lease and its namespace', async () => {
    const { agent, leaderElection } = await config('image.tag="1.2"');
    assert.deepEqual(agent, { image: 'analysis-operator:1.2' });
    assert.deepEqual(leaderElection, {
      enabled: true,
      namespace: 'analysis',
      name: 'analysis-operator',
      leaseDurationSeconds: 15,
      renewDeadlineSeconds: 10,
      retryPeriodSeconds: 2,
    });
  });

  it('prefers a digest to a tag', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const { agent } = await config(`image={"tag":"1.2","digest":"${digest}"}`);
    assert.deepEqual(agent, { image: `analysis-operator@${digest}` });
  });

  it('creates the priority classes that it names, and none that it leaves empty', async () => {
    const objects = await render('config.priorityClasses.Low=""');
    assert.deepEqual(names(objects, 'PriorityClass'), ['analysis-high', 'analysis-normal']);
    assert.deepEqual(names(await render('priorityClasses.create=false'), 'PriorityClass'), []);
  });
});

describe('the schema of the values', () => {
  const nonsense = {
    'an unknown key': ['config.concurency=4', /concurency/],
    'an unknown key at the top': ['replica=4', /replica/],
    'a claim without a name': ['config.store.claimName=""', /claimName/],
    'pods that run as root': ['config.identity.runAsUser=0', /runAsUser/],
    'a number as text': ['config.concurrency="many"', /concurrency/],
    'no worker at all': ['config.concurrency=0', /concurrency/],
    'a privileged port': ['config.health.port=80', /port/],
    'an unknown log level': ['config.log.level="loud"', /level/],
    'a namespace in capitals': ['config.namespaces=["Lab"]', /namespaces/],
    'a digest that is none': ['image.digest="latest"', /digest/],
    'an unknown pull policy': ['image.pullPolicy="Sometimes"', /pullPolicy/],
    'a negative number of replicas': ['replicas=-1', /replicas/],
    'a self-test outside of the store': ['storeAgent.selfTest.directory="../etc"', /directory/],
    'a store agent that answers nothing': ['storeAgent.concurrency=0', /concurrency/],
  } as const;
  for (const [what, [setting, message]] of Object.entries(nonsense))
    it(`refuses ${what}`, async () => {
      await assert.rejects(render(setting), message);
    });
});
