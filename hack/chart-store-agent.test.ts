import assert from 'node:assert/strict';
import { Deployment, type IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { z } from 'zod';
import { configSchema } from '../src/config.ts';
import { deployment, type Manifest, names, only, render } from './testing/rendered-chart.ts';

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
