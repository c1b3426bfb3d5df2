import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { isConflict } from './api-error.ts';
import type { ResourceClient } from './client.ts';
import { resourceClient } from './client.ts';
import { createExecutor } from './execute.ts';
import type { Action } from './plan.ts';
import type { KubeObject, ResourceType } from './resources.ts';
import { collectionPath, isOlder, keyOf, objectPath, refOf } from './resources.ts';
import { writeStatus } from './status-writer.ts';
import { FakeApi } from './testing/fake-api.ts';
import type { Transport } from './transport.ts';
import { createTransport } from './transport.ts';

const JOBS: ResourceType = { group: 'batch', version: 'v1', plural: 'jobs', kind: 'Job', namespaced: true };
const NODES: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false };

interface Job extends KubeObject {
  readonly spec?: { readonly attempt: number };
  readonly status?: { readonly active?: number; readonly failed?: number | undefined };
}

const wanted = (name: string, attempt = 1) => ({ metadata: { name, namespace: 'lab' }, spec: { attempt } });

let api: FakeApi;
let transport: Transport;
let jobs: ResourceClient<Job>;

beforeEach(async () => {
  api = await FakeApi.start();
  transport = createTransport(api.connection());
  jobs = resourceClient<Job>(transport, JOBS);
});
afterEach(async () => {
  await transport.close();
  await api.stop();
});

describe('paths and keys', () => {
  const paths: Record<string, string> = {
    [collectionPath(JOBS)]: '/apis/batch/v1/jobs',
    [collectionPath(JOBS, 'lab')]: '/apis/batch/v1/namespaces/lab/jobs',
    [collectionPath(NODES, 'ignored')]: '/api/v1/nodes',
    [objectPath(JOBS, { namespace: 'lab', name: 'a/../b' }, 'status')]:
      '/apis/batch/v1/namespaces/lab/jobs/a%2F..%2Fb/status',
  };
  for (const [path, expected] of Object.entries(paths)) it(expected, () => assert.equal(path, expected));

  it('refuses a namespaced object without namespace, and an empty name', () => {
    assert.throws(() => objectPath(JOBS, { name: 'a' }), /Job "a" needs a namespace/);
    assert.throws(() => objectPath(NODES, { name: '' }), /Node needs a name/);
  });

  it('keys go there and back', () => {
    for (const key of ['lab/a', 'node-1']) assert.equal(keyOf({ metadata: refOf(key) }), key);
  });

  it('compares versions as numbers of any length, and not at all what is no number', () => {
    const big = '99999999999999999999';
    assert.deepEqual(
      [isOlder('9', '10'), isOlder('10', '9'), isOlder(big, `1${big}`), isOlder('a', 'b')],
      [true, false, true, false],
    );
  });
});

describe('resourceClient()', () => {
  it('creates with type and namespace, reads back, and says undefined for what is not there', async () => {
    const made = await jobs.create(wanted('one'));
    assert.deepEqual(await jobs.get({ namespace: 'lab', name: 'one' }), made);
    assert.equal(made.kind, 'Job');
    assert.equal(await jobs.get({ namespace: 'lab', name: 'two' }), undefined);
  });

  it('writes status alone, from the identity of the copy decided on', async () => {
    const made = await jobs.create(wanted('one'));
    const written = await jobs.replaceStatus(made, { active: 1 });
    assert.deepEqual([written.spec, written.status], [{ attempt: 1 }, { active: 1 }]);
    await assert.rejects(jobs.replaceStatus(made, { active: 2 }), isConflict);
    const sent = api.requests.at(-1)?.body as { spec?: unknown; metadata: object };
    assert.deepEqual(Object.keys(sent.metadata), ['name', 'namespace', 'uid', 'resourceVersion']);
    assert.equal(sent.spec, undefined);
  });

  it('refuses a write that rests on a namesake', async () => {
    const old = await jobs.create(wanted('one'));
    await jobs.delete(old.metadata);
    await jobs.create(wanted('one'));
    await assert.rejects(jobs.replaceStatus(old, { active: 1 }), isConflict);
  });

  it('merge-patches with its own content type', async () => {
    await jobs.create(wanted('one'));
    const patched = await jobs.mergePatch(
      { namespace: 'lab', name: 'one' },
      { metadata: { labels: { a: 'b' } } },
    );
    assert.deepEqual(patched.metadata.labels, { a: 'b' });
    assert.equal(api.requests.at(-1)?.contentType, 'application/merge-patch+json');
  });

  it('lists through all pages with selectors', async () => {
    for (let i = 0; i < 5; i++)
      await jobs.create({
        ...wanted(`job-${i}`),
        metadata: { ...wanted(`job-${i}`).metadata, labels: { odd: String(i % 2) } },
      });
    assert.equal((await jobs.list({ namespace: 'lab', limit: 2 })).length, 5);
    assert.equal((await jobs.list({ namespace: 'lab', labelSelector: 'odd=1' })).length, 2);
  });

  describe('delete()', () => {
    it('is false for what is gone, and for a namesake with another uid', async () => {
      const made = await jobs.create(wanted('one'));
      assert.equal(await jobs.delete(made.metadata, { uid: 'other' }), false);
      assert.ok(await jobs.get(made.metadata));
      assert.equal(
        await jobs.delete(made.metadata, { uid: made.metadata.uid, propagationPolicy: 'Foreground' }),
        true,
      );
      assert.equal(await jobs.delete(made.metadata, { uid: made.metadata.uid }), false);
    });

    it('throws the conflict when the version was demanded too', async () => {
      const { metadata } = await jobs.create(wanted('one'));
      await assert.rejects(jobs.delete(metadata, { uid: metadata.uid, resourceVersion: '1' }), isConflict);
    });
  });
});

describe('createExecutor()', () => {
  const executor = () =>
    createExecutor<Job>({
      client: jobs,
      adopt: (existing, own) => (existing.spec?.attempt === own.spec?.attempt ? 'ours' : 'foreign'),
    });
  const create = (attempt = 1): Action<Job> => ({ do: 'create', object: wanted('one', attempt) });

  it('creates once, and adopts its own object when asked again', async () => {
    const [first] = await executor().execute([create()]);
    const [second] = await executor().execute([create()]);
    assert.equal(first?.metadata.uid, second?.metadata.uid);
    assert.equal(api.store.list('jobs').length, 1);
  });

  it('adopts what a create made whose answer was lost, on the next pass', async () => {
    api.fail({ kind: 'drop-response' });
    await assert.rejects(executor().execute([create()]), { name: 'UnknownOutcomeError' });
    const [adopted] = await executor().execute([create()]);
    assert.equal(adopted?.metadata.uid, api.store.list('jobs')[0]?.metadata.uid);
  });

  it('never touches a foreign object of that name', async () => {
    await jobs.create(wanted('one', 7));
    await assert.rejects(executor().execute([create(1)]), { name: 'WaitError', reason: 'NameConflict' });
    assert.equal(api.store.list('jobs')[0]?.['spec'] instanceof Object, true);
    assert.deepEqual(api.store.list('jobs')[0]?.['spec'], { attempt: 7 });
  });

  it('waits while its own object of that name is being deleted', async () => {
    const made = await jobs.create({
      ...wanted('one'),
      metadata: { ...wanted('one').metadata, finalizers: ['x'] },
    });
    await jobs.delete(made.metadata);
    await assert.rejects(executor().execute([create()]), { name: 'WaitError', reason: 'NameTaken' });
  });

  it('deletes by uid, and is content when it is gone', async () => {
    const { metadata } = await jobs.create(wanted('one'));
    const action: Action<Job> = { do: 'delete', name: 'one', namespace: 'lab', uid: metadata.uid };
    await executor().execute([action]);
    await executor().execute([action]);
    assert.equal(api.store.list('jobs').length, 0);
    const sent = api.requests.find(({ method }) => method === 'DELETE')?.body;
    assert.deepEqual(sent, {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid: metadata.uid },
      propagationPolicy: 'Foreground',
    });
  });

  it('goes on after a failure and throws it at the end', async () => {
    const { metadata } = await jobs.create(wanted('two'));
    api.fail({ kind: 'reply', code: 422, reason: 'Invalid' }, ({ method }) => method === 'POST');
    const remove: Action<Job> = { do: 'delete', name: 'two', namespace: 'lab', uid: metadata.uid };
    await assert.rejects(executor().execute([create(), remove]), { name: 'ApiError', code: 422 });
    assert.equal(api.store.list('jobs').length, 0);
  });
});

describe('writeStatus()', () => {
  it('writes nothing when nothing changed, whatever the order of keys or undefined fields', async () => {
    const made = await jobs.create(wanted('one'));
    const written = await writeStatus(jobs, made, { active: 1, failed: 2 });
    const calls = api.requests.length;
    assert.equal(await writeStatus(jobs, written, { failed: 2, active: 1 }), written);
    const cleared = await writeStatus(jobs, written, { active: 1 });
    assert.equal(await writeStatus(jobs, cleared, { active: 1, failed: undefined }), cleared);
    assert.equal(api.requests.length, calls + 1);
  });

  it('does nothing to an object newer than the copy decided on', async () => {
    const made = await jobs.create(wanted('one'));
    await writeStatus(jobs, made, { active: 1 });
    await assert.rejects(writeStatus(jobs, made, { failed: 1 }), isConflict);
    assert.deepEqual((await jobs.get(made.metadata))?.status, { active: 1 });
  });
});
