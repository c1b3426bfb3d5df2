import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { EventRecorder, EventRecorderOptions } from './events.ts';
import { createEventRecorder } from './events.ts';
import { createMetrics } from './metrics.ts';
import type { KubeObject } from './resources.ts';
import { FakeApi } from './testing/fake-api.ts';
import { createManualClock } from './testing/manual-clock.ts';
import { TokenBuckets } from './token-buckets.ts';
import type { Transport } from './transport.ts';
import { createTransport } from './transport.ts';

const task: KubeObject = {
  apiVersion: 'analysis.elsi.dev/v1alpha1',
  kind: 'AnalysisTask',
  metadata: { name: 'vtc-1', namespace: 'lab', uid: 'u-1', resourceVersion: '7' },
};
const created = { reason: 'JobCreated', action: 'CreateJob', note: 'Created Job vtc-1-ab12' };

interface SentEvent {
  readonly note: string;
  readonly eventTime: string;
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly regarding: object;
}

describe('event recorder', () => {
  let api: FakeApi;
  let transport: Transport;
  const clock = createManualClock();
  const metrics = createMetrics();
  beforeEach(async () => {
    api = await FakeApi.start();
    transport = createTransport(api.connection());
  });
  afterEach(async () => {
    await transport.close();
    await api.stop();
  });
  const aRecorder = (more: Partial<EventRecorderOptions> = {}): EventRecorder =>
    createEventRecorder({
      transport,
      controller: 'example.dev/controller',
      instance: 'pod-1',
      clock,
      metrics,
      ...more,
    });
  const sent = (): SentEvent[] => api.requests.map(({ body }) => body as SentEvent);

  it('writes what events.k8s.io/v1 demands', async () => {
    const recorder = aRecorder();
    recorder.record(task, { ...created, related: { ...task, kind: 'Job', apiVersion: 'batch/v1' } });
    await recorder.stop();
    assert.equal(api.requests[0]?.path, '/apis/events.k8s.io/v1/namespaces/lab/events');
    const [event] = sent();
    assert.match(event?.eventTime ?? '', /\.\d{6}Z$/);
    assert.deepEqual(event?.regarding, {
      apiVersion: 'analysis.elsi.dev/v1alpha1',
      kind: 'AnalysisTask',
      name: 'vtc-1',
      namespace: 'lab',
      uid: 'u-1',
      resourceVersion: '7',
    });
  });

  it('puts events of cluster-scoped objects into the default namespace', async () => {
    const recorder = aRecorder();
    recorder.record({ ...task, metadata: { name: 'vtc-2-0', uid: 'u-2', resourceVersion: '1' } }, created);
    await recorder.stop();
    assert.equal(sent()[0]?.metadata.namespace, 'default');
  });

  it('cuts a note to 1 kB without splitting a character', async () => {
    const recorder = aRecorder();
    recorder.record(task, { ...created, note: `x${'é'.repeat(2000)}` });
    await recorder.stop();
    const note = sent()[0]?.note ?? '';
    assert.ok(Buffer.byteLength(note) <= 1024 && note.endsWith('é...'));
  });

  it('does not repeat the same event of the same object', async () => {
    const recorder = aRecorder();
    for (let i = 0; i < 5; i++) recorder.record(task, created);
    recorder.record({ ...task, metadata: { ...task.metadata, uid: 'u-9' } }, created);
    await recorder.stop();
    assert.equal(sent().length, 2);
  });

  it('limits each object by itself', async () => {
    const recorder = aRecorder({ burst: 3 });
    for (let i = 0; i < 10; i++) recorder.record(task, { ...created, note: `note ${i}` });
    recorder.record({ ...task, metadata: { ...task.metadata, uid: 'u-9' } }, created);
    await recorder.stop();
    assert.equal(sent().length, 4);
  });

  it('drops what does not fit the queue instead of growing', async () => {
    api.fail({ kind: 'stall' }, () => true, 100);
    const recorder = aRecorder({ queueLimit: 5, burst: 1000 });
    for (let i = 0; i < 50; i++) recorder.record(task, { ...created, note: `note ${i}` });
    const text = await metrics.registry.getSingleMetricAsString('event_recorder_dropped_total');
    assert.match(text, /reason="queue-full"\} 43/);
  });

  it('never throws when the API server refuses, and records nothing after stop', async () => {
    api.fail({ kind: 'reply', code: 403 }, () => true, 10);
    const recorder = aRecorder();
    recorder.record(task, created);
    await recorder.stop();
    recorder.record(task, { ...created, note: 'late' });
    assert.equal(api.requests.length, 1);
  });
});

describe('TokenBuckets', () => {
  it('refills over time and forgets the key unused for longest', async () => {
    const clock = createManualClock();
    const buckets = new TokenBuckets({ burst: 2, refillMs: 1000, limit: 2, clock });
    assert.deepEqual([buckets.take('a'), buckets.take('a'), buckets.take('a')], [true, true, false]);
    await clock.advance(999);
    assert.equal(buckets.take('a'), false);
    await clock.advance(1);
    assert.equal(buckets.take('a'), true);
    buckets.take('b');
    buckets.take('c');
    assert.equal(buckets.take('a'), true);
  });
});
