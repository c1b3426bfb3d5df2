import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';
import type { Informer, InformerOptions } from './informer.ts';
import { createInformer, waitForSync } from './informer.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import { createMetrics } from './metrics.ts';
import type { KubeObject, ResourceType } from './resources.ts';
import { keyOf } from './resources.ts';
import type { WatchFault } from './testing/fake-api.ts';
import type { SeenRequest } from './testing/fake-routes.ts';
import { FakeApi } from './testing/fake-api.ts';
import { until } from './testing/until.ts';
import type { Transport } from './transport.ts';
import { createTransport } from './transport.ts';

const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };

interface Pod extends KubeObject {
  readonly spec?: { readonly node?: string };
}

/** Real time, but waits of the informer take a hundredth: its backoffs are tested, not sat out. */
const hurried: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs() * 100,
  setTimeout: (callback, ms) => systemClock.setTimeout(callback, ms / 100),
};

describe('informer', () => {
  let api: FakeApi;
  let transport: Transport;
  let stop: AbortController;
  let running: Promise<void>;
  let seen: string[];
  const metrics = createMetrics();

  beforeEach(async () => {
    api = await FakeApi.start();
    transport = createTransport(api.connection(), { watchIdleMs: 60_000 });
    stop = new AbortController();
    running = Promise.resolve();
    seen = [];
  });
  afterEach(async () => {
    stop.abort();
    await running;
    await transport.close();
    await api.stop();
  });

  const put = (name: string, node = 'n1', namespace = 'lab') =>
    api.store.create('pods', namespace, { metadata: { name, uid: '', resourceVersion: '' }, spec: { node } });
  const move = (name: string, node: string, namespace = 'lab') =>
    api.store.update('pods', `${namespace}/${name}`, {}, (pod) => ({ ...pod, spec: { node } }));
  const remove = (name: string, namespace = 'lab') => api.store.remove('pods', `${namespace}/${name}`, {});

  async function start(options: Partial<InformerOptions<Pod>> = {}): Promise<Informer<Pod>> {
    const informer = createInformer<Pod>({
      transport,
      type: PODS,
      clock: hurried,
      metrics,
      relistMs: 3_600_000,
      ...options,
    });
    informer.onChange((type, object, previous, source) => {
      const from = previous ? ` from ${previous.spec?.node}` : '';
      seen.push(`${type} ${keyOf(object)} ${object.spec?.node}${from} (${source})`);
    });
    running = informer.run(stop.signal);
    await waitForSync([informer], stop.signal);
    await until(() => api.openWatches === 1);
    return informer;
  }
  const isLevel = (informer: Informer<Pod>): boolean => {
    const mine = [...informer.values()].map(
      (pod) => `${keyOf(pod)} ${pod.metadata.uid} ${pod.metadata.resourceVersion}`,
    );
    const theirs = api.store
      .list('pods')
      .map(({ metadata }) => `${keyOf({ metadata })} ${metadata.uid} ${metadata.resourceVersion}`);
    return mine.toSorted().join() === theirs.toSorted().join();
  };

  it('lists all pages, then follows every kind of change', async () => {
    for (let i = 0; i < 7; i++) put(`pod-${i}`);
    const informer = await start({ pageSize: 3 });
    assert.equal(informer.size, 7);
    assert.equal(api.requests.filter(({ query }) => query.has('limit')).length, 3);
    put('late');
    move('late', 'n2');
    remove('pod-0');
    await until(() => isLevel(informer));
    assert.deepEqual(seen.slice(7), [
      'added lab/late n1 (watch)',
      'modified lab/late n2 from n1 (watch)',
      'deleted lab/pod-0 n1 (watch)',
    ]);
  });

  it('asks for bookmarks and a bounded watch from where the list ended', async () => {
    put('one');
    await start({ labelSelector: '', fieldSelector: 'status.settled!=true' });
    const watch = api.requests.at(-1);
    assert.equal(watch?.query.get('allowWatchBookmarks'), 'true');
    assert.equal(watch.query.get('resourceVersion'), String(api.store.version));
    assert.equal(watch.query.get('fieldSelector'), 'status.settled!=true');
    const seconds = Number(watch.query.get('timeoutSeconds'));
    assert.ok(seconds >= 290 && seconds <= 590);
  });

  it('resumes from a bookmark although everything before is compacted', async () => {
    const informer = await start();
    api.store.tick(50);
    api.bookmark();
    await until(() => informer.resourceVersion === String(api.store.version));
    api.store.compact();
    api.breakWatches('reset');
    await until(() => api.openWatches === 0);
    put('after');
    await until(() => informer.size === 1);
    assert.equal(api.requests.filter(({ query }) => query.has('limit')).length, 1);
  });

  describe('recovers from', () => {
    const faults: Record<string, { fault: WatchFault; relists: boolean }> = {
      'a clean end': { fault: 'close', relists: false },
      'a reset connection': { fault: 'reset', relists: false },
      'an ERROR event with 410': { fault: 'error-410', relists: true },
      'an ERROR event with 500': { fault: 'error-500', relists: false },
      'a line cut in the middle': { fault: 'cut-line', relists: true },
      'a line that is no JSON': { fault: 'corrupt-line', relists: true },
      'an event type it does not know': { fault: 'unknown-type', relists: true },
    };
    for (const [name, { fault, relists }] of Object.entries(faults)) {
      it(name, async () => {
        put('kept');
        put('gone');
        const informer = await start();
        api.breakWatches(fault);
        remove('gone');
        put('new');
        await until(() => isLevel(informer));
        assert.equal(api.requests.filter(({ query }) => query.has('limit')).length, relists ? 2 : 1);
        await until(() => api.openWatches === 1);
        move('kept', 'n9');
        await until(() => informer.get('lab/kept')?.spec?.node === 'n9');
      });
    }

    it('a 410 on connecting, telling deletions with their last state', async () => {
      put('gone', 'n7');
      const informer = await start();
      seen = [];
      api.fail({ kind: 'reply', code: 410, reason: 'Expired' }, ({ query }) => query.has('watch'));
      api.breakWatches('reset');
      remove('gone');
      await until(() => isLevel(informer));
      assert.equal(seen.length, 1);
      assert.match(seen[0] ?? '', /^deleted lab\/gone n7/);
    });

    it('a list that fails at the start', async () => {
      put('one');
      api.fail({ kind: 'reply', code: 403 }, () => true, 3);
      const informer = await start();
      assert.equal(informer.size, 1);
    });

    it('a continue token that expires between pages', async () => {
      for (let i = 0; i < 5; i++) put(`pod-${i}`);
      api.fail({ kind: 'reply', code: 410, reason: 'Expired' }, ({ query }) => query.has('continue'));
      const informer = await start({ pageSize: 2 });
      assert.ok(isLevel(informer));
    });

    it('a watch without a byte', async () => {
      await transport.close();
      transport = createTransport(api.connection(), { watchIdleMs: 30 });
      const informer = await start();
      const connects = (): number => api.requests.filter(({ query }) => query.has('watch')).length;
      await until(() => connects() >= 2, 4_000);
      put('one');
      await until(() => informer.size === 1);
    });

    it('a line above the bound', async () => {
      const informer = await start({ maxLineBytes: 2_000 });
      api.store.create('pods', 'lab', {
        metadata: { name: 'fat', uid: '', resourceVersion: '' },
        blob: 'x'.repeat(5_000),
      });
      await until(() => informer.size === 1);
    });
  });

  it('tells a recreated object as deleted and added, seen in the stream or missed', async () => {
    put('one', 'n1');
    const informer = await start();
    const recreate = (node: string): void => {
      remove('one');
      put('one', node);
    };
    recreate('n2');
    await until(() => isLevel(informer));
    api.breakWatches('error-410');
    recreate('n3');
    await until(() => isLevel(informer));
    assert.deepEqual(
      seen.map((line) => line.replace(/ \(.*/, '')),
      [
        'added lab/one n1',
        'deleted lab/one n1',
        'added lab/one n2',
        'deleted lab/one n2',
        'added lab/one n3',
      ],
    );
  });

  it('repairs lost events by the periodic list, and counts them', async () => {
    for (const name of ['a', 'b', 'c']) put(name);
    const informer = await start({ relistMs: 30_000 });
    api.dropEvents = 3;
    remove('a');
    move('b', 'n2');
    put('d');
    put('seen');
    await until(() => isLevel(informer), 3_000);
    const text = await metrics.registry.getSingleMetricAsString('informer_relist_misses_total');
    assert.match(text, /resource="pods"\} 3/);
  });

  it('goes on with a full list when the server refuses the audit', async () => {
    put('one');
    const isAudit = ({ query }: SeenRequest): boolean => query.get('resourceVersionMatch') === 'Exact';
    api.fail({ kind: 'reply', code: 400 }, isAudit, 1_000);
    const informer = await start({ relistMs: 5_000 });
    await until(() => api.requests.filter(isAudit).length >= 2);
    put('two');
    await until(() => informer.size === 2);
  });

  it('ignores replayed old events, and does not go back to where they came from', async () => {
    const old = put('one', 'n1');
    const informer = await start();
    move('one', 'n2');
    await until(() => isLevel(informer));
    const version = informer.resourceVersion;
    seen = [];
    const contactMs = informer.lastContactMs();
    api.replay('MODIFIED', old);
    await until(() => informer.lastContactMs() > contactMs);
    assert.equal(informer.resourceVersion, version);
    api.replay('ADDED', { ...old, metadata: { ...old.metadata, uid: 'before' } });
    api.replay('DELETED', { ...old, metadata: { ...old.metadata, uid: 'before' } });
    put('two');
    await until(() => isLevel(informer));
    assert.deepEqual(seen, ['added lab/two n1 (watch)']);
  });

  it('does not bring back a deleted object because of an event from before', async () => {
    const old = put('one');
    const informer = await start();
    remove('one');
    await until(() => isLevel(informer));
    seen = [];
    api.replay('MODIFIED', old);
    put('two');
    await until(() => isLevel(informer));
    assert.deepEqual(seen, ['added lab/two n1 (watch)']);
  });

  it('isolates an object it cannot read: logged once, the others go on, the last good state stays', async () => {
    const warned: string[] = [];
    const log: Log = {
      ...silentLog,
      warn: (message, fields) => void warned.push(`${message} ${String(fields?.['key'])}`),
      child: () => log,
    };
    put('bad', 'n1');
    const transform = (raw: unknown): Pod => {
      const pod = raw as Pod;
      if (pod.spec?.node === 'poison') throw new Error('node must be a name');
      return pod;
    };
    const informer = await start({ transform, log });
    move('bad', 'poison');
    put('good', 'n1');
    await until(() => informer.size === 2);
    assert.equal(informer.get('lab/bad')?.spec?.node, 'n1');
    api.breakWatches('error-410');
    await until(() => api.openWatches === 0);
    await until(() => api.openWatches === 1);
    assert.deepEqual(
      warned.filter((line) => line.startsWith('Object')),
      ['Object cannot be read, leaving it out lab/bad'],
    );
    move('bad', 'n5');
    await until(() => informer.get('lab/bad')?.spec?.node === 'n5');
    remove('bad');
    await until(() => informer.size === 1);
  });

  it('leaves out what the transform does not want, and drops what it no longer wants', async () => {
    put('one', 'mine');
    put('two', 'theirs');
    const informer = await start({
      transform: (raw) => ((raw as Pod).spec?.node === 'mine' ? (raw as Pod) : undefined),
    });
    assert.equal(informer.size, 1);
    move('one', 'theirs');
    await until(() => informer.size === 0);
    assert.match(seen.at(-1) ?? '', /^deleted lab\/one/);
  });

  it('finds objects by index, through changes and deletions', async () => {
    put('one', 'n1');
    put('two', 'n1');
    const informer = await start({ indexes: { node: (pod) => (pod.spec?.node ? [pod.spec.node] : []) } });
    assert.equal(informer.byIndex('node', 'n1').length, 2);
    move('one', 'n2');
    remove('two');
    await until(() => isLevel(informer));
    assert.deepEqual([informer.byIndex('node', 'n1').length, informer.byIndex('node', 'n2').length], [0, 1]);
    assert.throws(() => informer.byIndex('owner', 'x'), /Unknown index "owner": declared are node/);
  });

  it('stays within its namespace', async () => {
    put('one', 'n1', 'lab');
    put('two', 'n1', 'other');
    const informer = await start({ namespace: 'lab' });
    put('three', 'n1', 'other');
    put('four', 'n1', 'lab');
    await until(() => informer.size === 2);
    assert.equal(informer.get('other/three'), undefined);
  });

  it('survives a handler that throws', async () => {
    const informer = await start();
    informer.onChange(() => {
      throw new Error('bug');
    });
    put('one');
    put('two');
    await until(() => informer.size === 2);
  });

  it('delivers nothing after its signal aborts, and closes the watch', async () => {
    await start();
    seen = [];
    stop.abort();
    put('late');
    await running;
    await until(() => api.openWatches === 0);
    assert.deepEqual(seen, []);
  });

  it('waitForSync() ends with the reason of the signal', async () => {
    api.fail({ kind: 'stall' }, () => true, 100);
    const informer = createInformer<Pod>({ transport, type: PODS });
    running = informer.run(stop.signal);
    const waiting = waitForSync([informer], stop.signal);
    stop.abort(new Error('shutdown'));
    await assert.rejects(waiting, /shutdown/);
    assert.equal(informer.hasSynced(), false);
  });

  it('does not hammer a server whose watches end at once', async () => {
    const clock: Clock = systemClock;
    await start({ clock });
    const closing = setInterval(() => api.breakWatches('close'), 1);
    await new Promise((resolve) => setTimeout(resolve, 400));
    clearInterval(closing);
    const watches = api.requests.filter(({ query }) => query.has('watch')).length;
    assert.ok(watches <= 4, `${watches} watches in 400 ms`);
  });
});
