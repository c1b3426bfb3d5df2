import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';
import type { Informer } from './informer.ts';
import { createInformer } from './informer.ts';
import type { KubeObject, ResourceType } from './resources.ts';
import { keyOf } from './resources.ts';
import type { Fault, WatchFault } from './testing/fake-api.ts';
import { FakeApi } from './testing/fake-api.ts';
import { until } from './testing/until.ts';
import { createTransport } from './transport.ts';

const PODS: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
const hurried: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs() * 300,
  setTimeout: (callback, ms) => systemClock.setTimeout(callback, ms / 300),
};

type Step =
  | { readonly do: 'write' | 'delete' | 'recreate'; readonly name: string }
  | { readonly do: 'break'; readonly fault: WatchFault }
  | { readonly do: 'fail'; readonly fault: Fault; readonly times: number }
  | { readonly do: 'lose'; readonly events: number }
  | { readonly do: 'compact' | 'bookmark' | 'breathe' };

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const breaks: readonly WatchFault[] = [
  'close',
  'reset',
  'cut-line',
  'error-410',
  'error-500',
  'corrupt-line',
  'unknown-type',
];
const faults: readonly Fault[] = [
  { kind: 'reply', code: 410, reason: 'Expired' },
  { kind: 'reply', code: 500 },
  { kind: 'reply', code: 429, retryAfterSeconds: 0 },
  { kind: 'reply', code: 403 },
  { kind: 'drop-request' },
  { kind: 'drop-response' },
  { kind: 'garbage' },
];
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom('write' as const, 'delete' as const, 'recreate' as const),
      name,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('break' as const), fault: fc.constantFrom(...breaks) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      fault: fc.constantFrom(...faults),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('lose' as const), events: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('compact' as const, 'bookmark' as const, 'breathe' as const),
    }),
  },
);

const breathe = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function write(api: FakeApi, pod: string): void {
  if (!api.store.get('pods', `lab/${pod}`))
    api.store.create('pods', 'lab', { metadata: { name: pod, uid: '', resourceVersion: '' } });
  else api.store.update('pods', `lab/${pod}`, {}, (current) => ({ ...current, touched: api.store.version }));
}

function drop(api: FakeApi, pod: string): void {
  if (api.store.get('pods', `lab/${pod}`)) api.store.remove('pods', `lab/${pod}`, {});
}

async function apply(api: FakeApi, now: Step): Promise<void> {
  switch (now.do) {
    case 'write':
      return write(api, now.name);
    case 'delete':
      return drop(api, now.name);
    case 'recreate':
      drop(api, now.name);
      return write(api, now.name);
    case 'break':
      return api.breakWatches(now.fault);
    case 'fail':
      return api.fail(now.fault, undefined, now.times);
    case 'lose':
      api.dropEvents += now.events;
      return undefined;
    case 'compact':
      return api.store.compact();
    case 'bookmark':
      return api.bookmark();
    case 'breathe':
      return breathe(5);
  }
}

const stateOf = (objects: Iterable<KubeObject>): string =>
  [...objects]
    .map((object) => `${keyOf(object)} ${object.metadata.uid} ${object.metadata.resourceVersion}`)
    .toSorted()
    .join('\n');

/** What somebody knows who only listens to the handler, and what that somebody was told wrongly. */
function listen(informer: Informer<KubeObject>) {
  const known = new Map<string, string>();
  const wrong: string[] = [];
  informer.onChange((type, object, previous) => {
    const key = keyOf(object);
    const expected = type === 'added' ? undefined : object.metadata.uid;
    if (known.get(key) !== expected)
      wrong.push(`${type} ${key} ${object.metadata.uid}, known was ${known.get(key)}`);
    if (previous && previous.metadata.uid !== object.metadata.uid)
      wrong.push(`${type} ${key} changed its uid`);
    if (type === 'deleted') known.delete(key);
    else known.set(key, object.metadata.uid);
  });
  return { known, wrong };
}

describe('informer, under any schedule of events and faults', () => {
  it('ends with exactly what the server has, and its handlers know the same', async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), converges), { numRuns: 60 });
  }).timeout(30_000);
});

async function converges(steps: readonly Step[]): Promise<void> {
  const api = await FakeApi.start();
  const transport = createTransport(api.connection(), { clock: hurried, connections: 2 });
  const informer = createInformer<KubeObject>({
    transport,
    type: PODS,
    clock: hurried,
    pageSize: 2,
    relistMs: 6_000,
  });
  const { known, wrong } = listen(informer);
  const stop = new AbortController();
  const running = informer.run(stop.signal);
  try {
    await informer.synced;
    for (const now of steps) {
      await apply(api, now);
      await breathe(1);
    }
    await until(() => stateOf(informer.values()) === stateOf(api.store.list('pods')), 5_000);
    assert.deepEqual(wrong, []);
    assert.deepEqual([...known.keys()].toSorted(), api.store.list('pods').map(keyOf).toSorted());
  } finally {
    stop.abort();
    await running;
    await transport.close();
    await api.stop();
  }
}
