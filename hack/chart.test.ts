import assert from 'node:assert/strict';
import { ClusterRole } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole';
import { ClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding';
import { Role } from 'kubernetes-models/rbac.authorization.k8s.io/v1/Role';
import { RoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { PriorityClass } from 'kubernetes-models/scheduling.k8s.io/v1/PriorityClass';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { Service } from 'kubernetes-models/v1/Service';
import { ServiceAccount } from 'kubernetes-models/v1/ServiceAccount';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { z } from 'zod';
import { type Config, configSchema } from '../src/config.ts';
import { elsiConfigSchema } from '../src/elsi/config.ts';
import { helm } from './helm.ts';
import { CHART, deployment, type Manifest, names, only, render } from './testing/rendered-chart.ts';

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
  'analysis.elsi.dev/analysismodels: list watch',
  'analysis.elsi.dev/analysismodels/status: update',
  '/nodes: get',
];
const TASK_RIGHTS = [
  'analysis.elsi.dev/analysistasks: get list watch patch delete',
  'analysis.elsi.dev/analysistasks/status: update',
  'analysis.elsi.dev/analysistasks/finalizers: update',
  'batch/jobs: get list watch create delete',
  '/pods: list watch delete',
  '/persistentvolumeclaims: list watch',
  'events.k8s.io/events: create',
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

  it('leave nodes alone when asked to', async () => {
    const objects = await render('config.namespaces=["lab1"]', 'rbac.readNodes=false');
    assert.deepEqual(granted(only(objects, 'ClusterRole')), MODEL_RIGHTS.slice(0, 2));
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

const ELSI = [
  'elsi.enabled=true',
  'elsi.config.elsi.baseUrl="https://elsi.example.org/api"',
  'elsi.config.namespace="lab1"',
  'elsi.config.models={"vtc":"vtc-1-0"}',
];

describe('the part of the chart for ELSI', () => {
  it('is left out unless it is asked for', async () => {
    assert.ok(!(await render()).some(({ metadata }) => metadata.name.endsWith('-elsi')));
  });

  it('gives elsi-sync a configuration that it accepts, with its secret as files', async () => {
    const objects = await render(...ELSI);
    const map: unknown = only(objects, 'ConfigMap', 'analysis-operator-elsi');
    assert.ok(ConfigMap.is(map));
    const config = elsiConfigSchema.parse(parse(map.data?.['config.yaml'] ?? ''));
    assert.equal(config.elsi.credentialsDirectory, '/etc/elsi');
    assert.equal(config.leaderElection.name, 'analysis-operator-elsi');
    const object: unknown = only(objects, 'Deployment', 'analysis-operator-elsi');
    assert.ok(Deployment.is(object));
    const [container] = object.spec?.template.spec?.containers ?? [];
    assert.deepEqual(container?.args, ['elsi-sync', '--config', '/etc/analysis-operator/config.yaml']);
  });

  it('is watched and protected like the controller', async () => {
    const asked = ['networkPolicy.enabled=true', 'serviceMonitor.enabled=true'];
    const objects = await render(...ELSI, ...asked);
    for (const kind of ['Service', 'ServiceMonitor', 'NetworkPolicy', 'PodDisruptionBudget']) {
      const found = names(objects, kind);
      assert.ok(found.includes('analysis/analysis-operator-elsi'), `${kind}: ${found.join(', ')}`);
      assert.ok(found.includes('analysis/analysis-operator'), `${kind}: ${found.join(', ')}`);
    }
    const service: unknown = only(objects, 'Service', 'analysis-operator-elsi');
    const pods: unknown = only(objects, 'Deployment', 'analysis-operator-elsi');
    assert.ok(Service.is(service) && Deployment.is(pods));
    const { labels = {} } = pods.spec?.template.metadata ?? {};
    const { selector = {}, ports = [] } = service.spec ?? {};
    for (const [key, value] of Object.entries(selector)) assert.equal(labels[key], value);
    assert.equal(selector['app.kubernetes.io/component'], 'elsi-sync');
    const map: unknown = only(objects, 'ConfigMap', 'analysis-operator-elsi');
    assert.ok(ConfigMap.is(map));
    const { health } = elsiConfigSchema.parse(parse(map.data?.['config.yaml'] ?? ''));
    assert.equal(ports[0]?.port, health.port);
    assert.equal(pods.spec?.template.spec?.containers[0]?.ports?.[0]?.containerPort, health.port);
  });

  it('may touch tasks of one namespace and its lease, and nothing else', async () => {
    const objects = await render(...ELSI);
    const role = only(objects, 'Role', 'analysis-operator-elsi');
    assert.equal(role.metadata.namespace, 'lab1');
    assert.deepEqual(granted(role), ['analysis.elsi.dev/analysistasks: list watch create patch']);
    const lease = granted(only(objects, 'Role', 'analysis-operator-elsi-leader'));
    assert.deepEqual(lease, ['coordination.k8s.io/leases: get create update']);
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
