import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import {
  isAlreadyExists,
  isConflict,
  isInvalid,
  isNotFound,
  isUnauthorized,
} from '../../src/controller/api-error.ts';
import { resourceClient } from '../../src/controller/client.ts';
import { systemClock } from '../../src/controller/clock.ts';
import { createEventRecorder } from '../../src/controller/events.ts';
import { createInformer, type Informer, waitForSync } from '../../src/controller/informer.ts';
import { loadClusterConfig } from '../../src/controller/kube-config.ts';
import { acquireLeadership, type Lease, type LeaderOptions } from '../../src/controller/leader.ts';
import { createMetrics } from '../../src/controller/metrics.ts';
import { keyOf, type KubeObject, LEASES, type ResourceType } from '../../src/controller/resources.ts';
import { writeStatus } from '../../src/controller/status-writer.ts';
import { createTransport, type Transport } from '../../src/controller/transport.ts';
import { controlPlane, freshNamespace } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';

const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};
/** No controller of a bare control plane touches it. */
const INGRESSES: ResourceType = {
  group: 'networking.k8s.io',
  version: 'v1',
  plural: 'ingresses',
  kind: 'Ingress',
  namespaced: true,
};

const OURS = { test: 'runtime' };

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

interface Ingress extends KubeObject {
  readonly spec?: object;
  readonly status?: object;
}

const versionsOf = (objects: Iterable<KubeObject>): string =>
  [...objects]
    .map((object) => `${keyOf(object)} ${object.metadata.resourceVersion}`)
    .toSorted()
    .join();

/** What the runtime takes for granted about a Kubernetes API server, asked of a real one over TLS. */
describe('runtime on a real API server', () => {
  let transport: Transport;
  let namespace: string;

  before(async () => {
    transport = createTransport(await loadClusterConfig({ kubeconfig: controlPlane().kubeconfig }));
  });
  after(() => transport.close());
  beforeEach(async () => {
    namespace = await freshNamespace('runtime');
  });

  const maps = () => resourceClient<ConfigMap>(transport, CONFIG_MAPS);
  /** Labelled, because a controller manager puts a ConfigMap of its own into each namespace. */
  const aMap = (name: string, labels: Record<string, string> = {}) =>
    maps().create({ metadata: { name, namespace, labels: { ...OURS, ...labels } }, data: { of: name } });

  describe('calls', () => {
    it('tells a taken name from a stale copy, both 409', async () => {
      const stale = await aMap('one');
      await assert.rejects(aMap('one'), isAlreadyExists);
      await maps().mergePatch(stale.metadata, { data: { of: 'newer' } });
      await assert.rejects(maps().replace({ ...stale, data: {} }), isConflict);
    });

    it('refuses an invalid object with its causes', async () => {
      await assert.rejects(
        aMap('Not A Name'),
        (error) => isInvalid(error) && error.causes[0]?.field === 'metadata.name',
      );
    });

    it('says undefined for what is not there and 404 for a write to it', async () => {
      assert.equal(await maps().get({ namespace, name: 'none' }), undefined);
      await assert.rejects(maps().mergePatch({ namespace, name: 'none' }, {}), isNotFound);
    });

    it('refuses a merge patch that carries an old resourceVersion', async () => {
      const { metadata } = await aMap('one');
      const { resourceVersion } = metadata;
      await maps().mergePatch(metadata, { metadata: { resourceVersion }, data: { a: '1' } });
      await assert.rejects(
        maps().mergePatch(metadata, { metadata: { resourceVersion }, data: { a: '2' } }),
        isConflict,
      );
    });

    it('deletes by uid only the very object', async () => {
      const { metadata } = await aMap('one');
      assert.equal(await maps().delete(metadata, { uid: 'another' }), false);
      assert.equal(
        await maps().delete(metadata, { uid: metadata.uid, propagationPolicy: 'Background' }),
        true,
      );
      await eventually(
        'the ConfigMap is gone',
        async () => (await maps().get(metadata)) === undefined || undefined,
      );
      assert.equal(await maps().delete(metadata, { uid: metadata.uid }), false);
    });

    it('writes status alone, guarded by version and uid, and nothing when nothing changed', async () => {
      const ingresses = resourceClient<Ingress>(transport, INGRESSES);
      const spec = { defaultBackend: { service: { name: 'web', port: { number: 80 } } } };
      const status = (ip: string) => ({ loadBalancer: { ingress: [{ ip, ipMode: 'VIP' }] } });
      const create = () => ingresses.create({ metadata: { name: 'web', namespace }, spec });
      const made = await create();
      const written = await writeStatus(ingresses, made, status('192.0.2.1'));
      assert.deepEqual([written.spec, Object.keys(written.status ?? {})], [spec, ['loadBalancer']]);
      assert.equal(await writeStatus(ingresses, written, structuredClone(written.status ?? {})), written);
      await assert.rejects(writeStatus(ingresses, made, status('192.0.2.2')), isConflict);
      await ingresses.delete(made.metadata);
      const { resourceVersion } = (await create()).metadata;
      const forged = { ...made, metadata: { ...made.metadata, resourceVersion } };
      await assert.rejects(writeStatus(ingresses, forged, status('192.0.2.3')), isConflict);
    });

    it('lists in pages that belong together, by label', async () => {
      for (let i = 0; i < 7; i++) await aMap(`map-${i}`, { odd: String(i % 2) });
      const versions = new Set<string>();
      const names: string[] = [];
      for await (const page of maps().pages({ namespace, labelSelector: 'odd=0', limit: 2 })) {
        versions.add(page.resourceVersion);
        names.push(...page.items.map(({ metadata }) => metadata.name));
        await aMap(`late-${names.length}`, { odd: '0' });
      }
      assert.deepEqual(names, ['map-0', 'map-2', 'map-4', 'map-6']);
      assert.equal(versions.size, 1);
    });

    it('answers 401 to a token it does not know', async () => {
      const connection = await loadClusterConfig({ kubeconfig: controlPlane().kubeconfig });
      const { ca = '' } = await connection.credentials();
      const stranger = createTransport({
        ...connection,
        credentials: async () => ({ ca, token: 'unknown' }),
      });
      await assert.rejects(stranger.request({ method: 'GET', path: '/api/v1/namespaces' }), isUnauthorized);
      await stranger.close();
    });

    it('takes events with six-digit times', async () => {
      const metrics = createMetrics();
      const recorder = createEventRecorder({
        transport,
        controller: 'example.dev/test',
        instance: 'one',
        metrics,
      });
      const regarding = await aMap('one');
      recorder.record(regarding, { reason: 'Tested', action: 'Test', note: 'Tested the recorder' });
      await recorder.stop();
      const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
      const { items } = await transport.request<{ items: { reason: string }[] }>({ method: 'GET', path });
      assert.deepEqual(
        items.map(({ reason }) => reason),
        ['Tested'],
      );
    });
  });

  describe('informer', () => {
    let stop: AbortController;
    let running: Promise<void>[];
    beforeEach(() => {
      stop = new AbortController();
      running = [];
    });
    const level = (informer: Informer<ConfigMap>): Promise<true> =>
      eventually('the cache is what the server has', async () => {
        const theirs = versionsOf(await maps().list({ namespace, labelSelector: 'test=runtime' }));
        return theirs === versionsOf(informer.values()) || undefined;
      });
    afterEach(async () => {
      stop.abort();
      await Promise.all(running);
    });
    async function start(more: object = {}): Promise<{ informer: Informer<ConfigMap>; told: string[] }> {
      const informer = createInformer<ConfigMap>({
        transport,
        type: CONFIG_MAPS,
        namespace,
        labelSelector: 'test=runtime',
        pageSize: 3,
        ...more,
      });
      const told: string[] = [];
      informer.onChange((type, { metadata }) => void told.push(`${type} ${metadata.name}`));
      running.push(informer.run(stop.signal));
      await waitForSync([informer], AbortSignal.timeout(10_000));
      return { informer, told };
    }

    it('follows creations, changes, deletions and namesakes', async () => {
      for (let i = 0; i < 8; i++) await aMap(`map-${i}`);
      const { informer, told } = await start();
      assert.equal(informer.size, 8);
      told.length = 0;
      await aMap('new');
      await maps().mergePatch({ namespace, name: 'new' }, { data: { of: 'changed' } });
      await maps().delete({ namespace, name: 'map-1' });
      await maps().delete({ namespace, name: 'new' });
      await aMap('new');
      await level(informer);
      assert.deepEqual(told, ['added new', 'modified new', 'deleted map-1', 'deleted new', 'added new']);
    });

    it('tells an object that leaves its selector as deleted', async () => {
      await aMap('one', { mine: 'yes' });
      const { informer, told } = await start({ labelSelector: 'mine=yes' });
      await maps().mergePatch({ namespace, name: 'one' }, { metadata: { labels: { mine: 'no' } } });
      await eventually('the cache is empty', () => informer.size === 0 || undefined);
      assert.deepEqual(told, ['added one', 'deleted one']);
    });

    it('audits at exactly its own version without finding a miss while things change', async () => {
      const metrics = createMetrics();
      for (let i = 0; i < 5; i++) await aMap(`map-${i}`);
      const { informer } = await start({ relistMs: 300, metrics, clock: { ...systemClock } });
      for (let i = 0; i < 40; i++) {
        await maps().mergePatch({ namespace, name: `map-${i % 5}` }, { data: { round: String(i) } });
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
      await level(informer);
      const text = await metrics.registry.metrics();
      assert.doesNotMatch(text, /informer_relist_misses_total\{/);
      assert.doesNotMatch(text, /why="(gone|garbage|error)"/);
      const closed = /informer_watches_ended_total\{resource="configmaps",why="closed"\} (\d+)/.exec(text);
      assert.ok(Number(closed?.[1]) >= 2, text);
    });
  });

  describe('leader election', () => {
    const candidate = (identity: string): LeaderOptions => ({
      client: resourceClient<Lease>(transport, LEASES, { pool: 'lease' }),
      namespace,
      name: 'operator',
      identity,
      leaseDurationMs: 3_000,
      renewDeadlineMs: 2_000,
      retryPeriodMs: 300,
    });

    it('has one leader, hands over at once on release, and after the duration on a crash', async () => {
      const signal = AbortSignal.timeout(30_000);
      const a = await acquireLeadership(candidate('a'), signal);
      const second = acquireLeadership(candidate('b'), signal);
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      assert.equal(a.isFresh(), true);
      const releasedMs = performance.now();
      await a.release();
      const b = await second;
      assert.ok(performance.now() - releasedMs < 1_000);
      assert.deepEqual([a.isFresh(), b.isFresh()], [false, true]);
      const lease = await resourceClient<Lease>(transport, LEASES).get({ namespace, name: 'operator' });
      assert.deepEqual([lease?.spec?.holderIdentity, lease?.spec?.leaseTransitions], ['b', 1]);
      await b.release();
    });

    it('lets only one of many win', async () => {
      const stop = new AbortController();
      const won: string[] = [];
      const all = ['a', 'b', 'c', 'd', 'e'].map(async (identity) => {
        const leadership = await acquireLeadership(candidate(identity), stop.signal).catch(() => undefined);
        if (leadership) won.push(identity);
        return leadership;
      });
      await eventually('somebody leads', () => won.length > 0 || undefined);
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      stop.abort();
      const leaderships = await Promise.all(all);
      assert.equal(won.length, 1);
      for (const leadership of leaderships) await leadership?.release();
    });
  });
});
