import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { API_VERSION, GROUP } from '../../../src/api/keys.ts';
import type { TaskStatus } from '../../../src/api/task.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import type { World } from './world.ts';

/** A settled status as large as they get: some 7 kB. */
const SETTLED: TaskStatus = {
  phase: 'Failed',
  reason: 'ModelError',
  message: 'm'.repeat(1000),
  settled: true,
  finishedAt: '2026-01-01T00:00:00Z',
  failedUnits: Array.from({ length: 10 }, () => 'u'.repeat(300)),
  failures: Array.from({ length: 5 }, (_, index) => ({
    attempt: index + 1,
    category: 'ModelError',
    message: 'm'.repeat(500),
    at: '2026-01-01T00:00:00Z',
  })),
};

/** Etcd allows 128 operations per transaction. */
const BATCH = 100;

const tasksOf = ({ lab }: World): string => `/apis/${API_VERSION}/namespaces/${lab.namespace}/analysistasks`;

/** Creates a task that has settled already. */
export async function submitSettled(world: World, name: string, spec: object = {}): Promise<void> {
  await world.submit(name, spec);
  const patch = { body: { status: SETTLED }, contentType: 'application/merge-patch+json' };
  expectOk(await controlPlane().api.call('PATCH', `${tasksOf(world)}/${name}/status`, patch));
}

/**
 * Fills a namespace with tasks that have settled and with tasks that wait for a model that nobody made. One of each
 * goes through the API server; the others are copies of it, written where the API server stores them, because so many
 * requests would take minutes.
 */
export async function createCrowd(
  world: World,
  { settled, waiting }: { readonly settled: number; readonly waiting: number },
): Promise<void> {
  await submitSettled(world, 'settled-0');
  await copy(world, 'settled', settled);
  await world.submit('waiting-0', { model: 'nobody-made-this' });
  await copy(world, 'waiting', waiting);
}

const range = z.object({ kvs: z.tuple([z.object({ key: z.string(), value: z.string() })]) });
const stored = z.looseObject({ metadata: z.looseObject({}) });

const encoded = (text: string): string => Buffer.from(text).toString('base64');
const decoded = (text: string): string => Buffer.from(text, 'base64').toString();

async function copy({ lab }: World, stem: string, count: number): Promise<void> {
  const prefix = `/registry/${GROUP}/analysistasks/${lab.namespace}`;
  const { kvs } = range.parse(await etcd('range', { key: encoded(`${prefix}/${stem}-0`) }));
  const original = stored.parse(JSON.parse(decoded(kvs[0].value)));
  const put = (index: number): object => {
    const name = `${stem}-${index}`;
    const metadata = { ...original.metadata, name, uid: randomUUID() };
    const value = encoded(JSON.stringify({ ...original, metadata }));
    return { requestPut: { key: encoded(`${prefix}/${name}`), value } };
  };
  for (let from = 1; from < count; from += BATCH) {
    const indexes = Array.from({ length: Math.min(BATCH, count - from) }, (_, offset) => from + offset);
    await etcd('txn', { success: indexes.map(put) });
  }
}

/** The JSON gateway of etcd. */
async function etcd(call: 'range' | 'txn', body: object): Promise<unknown> {
  const { pieces } = controlPlane();
  if (!pieces) throw new Error('writing to etcd needs a control plane of our own');
  const url = `http://127.0.0.1:${pieces.layout.ports.etcd}/v3/kv/${call}`;
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`etcd refused with ${answer.status}: ${await answer.text()}`);
  return answer.json();
}
