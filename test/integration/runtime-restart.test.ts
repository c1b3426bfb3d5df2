import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { startControlPlane, type ControlPlane } from '../../hack/cluster/control-plane.ts';
import { isGone, isUnknownOutcome, UnreachableError } from '../../src/controller/api-error.ts';
import { resourceClient } from '../../src/controller/client.ts';
import { createInformer, waitForSync } from '../../src/controller/informer.ts';
import { loadClusterConfig } from '../../src/controller/kube-config.ts';
import { acquireLeadership, type Lease } from '../../src/controller/leader.ts';
import { createMetrics } from '../../src/controller/metrics.ts';
import { type KubeObject, LEASES, type ResourceType } from '../../src/controller/resources.ts';
import { createTransport, type Transport } from '../../src/controller/transport.ts';
import { eventually } from '../support/eventually.ts';

const MAPS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};
const namespace = 'default';

/** A control plane of its own: its API server is killed, and its history is short. */
describe('runtime while the API server is killed and comes back', () => {
  let plane: ControlPlane;
  let transport: Transport;
  const stop = new AbortController();
  const running: Promise<void>[] = [];

  before(async function () {
    this.timeout(20 * 60_000);
    plane = await startControlPlane({ apiserverFlags: { 'etcd-compaction-interval': '1s' } });
    transport = createTransport(await loadClusterConfig({ kubeconfig: plane.kubeconfig }));
  });
  after(async function () {
    this.timeout(60_000);
    stop.abort();
    await Promise.all(running);
    await transport.close();
    await plane.stop();
  });

  it('says 410 for a version that etcd has forgotten, and the informer lists again', async () => {
    const maps = resourceClient<KubeObject>(transport, MAPS);
    const metrics = createMetrics();
    const informer = createInformer<KubeObject>({
      transport,
      type: MAPS,
      namespace,
      metrics,
      relistMs: 2_500,
    });
    running.push(informer.run(stop.signal));
    await waitForSync([informer], AbortSignal.timeout(20_000));
    const old = informer.resourceVersion ?? '';
    // Another kind's writes move etcd on while this kind stands still.
    const leases = resourceClient<Lease>(transport, LEASES);
    const lease = await leases.create({ metadata: { name: 'busy', namespace }, spec: {} });
    const forgotten = eventually('etcd has forgotten the version', async () => {
      await leases.mergePatch(lease.metadata, {
        metadata: { annotations: { at: String(performance.now()) } },
      });
      const exact = { namespace, resourceVersion: old, resourceVersionMatch: 'Exact' } as const;
      return maps.list(exact).then(
        () => undefined,
        (error: unknown) => isGone(error) || undefined,
      );
    });
    assert.equal(await forgotten, true);
    await maps.create({ metadata: { name: 'late', namespace } });
    await eventually('the informer knows the late object', () => informer.get(`${namespace}/late`));
    await eventually('an audit met the gap', async () => {
      const text = await metrics.registry.metrics();
      assert.doesNotMatch(text, /informer_relist_misses_total\{|why="(error|garbage)"/);
      return /informer_watches_ended_total/.test(text) || undefined;
    });
  }).timeout(60_000);

  it('keeps following, never confuses a lost write with a refused one, and fences the leader', async () => {
    const maps = resourceClient<KubeObject>(transport, MAPS);
    const aMap = (name: string) => maps.create({ metadata: { name, namespace } });
    const informer = createInformer<KubeObject>({ transport, type: MAPS, namespace });
    running.push(informer.run(stop.signal));
    await waitForSync([informer], AbortSignal.timeout(20_000));
    const leader = await acquireLeadership(
      {
        client: resourceClient<Lease>(transport, LEASES, { pool: 'lease' }),
        namespace,
        name: 'operator',
        identity: 'a',
        leaseDurationMs: 3_000,
        renewDeadlineMs: 2_000,
        retryPeriodMs: 300,
      },
      AbortSignal.timeout(10_000),
    );
    await aMap('before');
    await eventually('the first object is known', () => informer.get(`${namespace}/before`));

    await plane.stopPiece('kube-apiserver', 'SIGKILL');
    await assert.rejects(
      maps.create({ metadata: { name: 'during', namespace } }, { timeoutMs: 500 }),
      (error) => error instanceof UnreachableError || isUnknownOutcome(error),
    );
    await eventually('the leader stopped itself', () => leader.lost.aborted || undefined, 5_000);
    assert.equal(leader.isFresh(), false);

    await plane.startPiece('kube-apiserver');
    await eventually('writes work again', () => aMap('after').catch(() => undefined));
    await eventually('the informer follows again', () => informer.get(`${namespace}/after`), 60_000);
    assert.ok(informer.get(`${namespace}/before`));
  }).timeout(120_000);
});
