import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { fenced } from './fence.ts';
import { LeadershipLostError } from './leader.ts';
import { FakeApi } from './testing/fake-api.ts';
import { createTransport, type Method, type Transport } from './transport.ts';

const PATH = '/api/v1/namespaces/lab/pods/one';

describe('fenced transport', () => {
  let api: FakeApi;
  let transport: Transport;
  const lease = { isFresh: true };

  beforeEach(async () => {
    api = await FakeApi.start();
    api.store.create('pods', 'lab', { metadata: { name: 'one', uid: '', resourceVersion: '' } });
    transport = createTransport(api.connection(), { random: () => 1 });
    lease.isFresh = true;
  });
  afterEach(async () => {
    await transport.close();
    await api.stop();
  });

  const call = (method: Method) =>
    fenced(transport, () => lease.isFresh).request({
      method,
      path: PATH,
      ...(method === 'PUT' ? { body: { metadata: { name: 'one' } } } : {}),
    });

  it('lets everything pass while the lease is fresh', async () => {
    for (const method of ['GET', 'PUT', 'DELETE'] as const) await call(method);
    assert.equal(api.requests.length, 3);
  });

  it('sends no write once it is not, and still reads', async () => {
    lease.isFresh = false;
    for (const method of ['PUT', 'PATCH', 'POST', 'DELETE'] as const)
      await assert.rejects(call(method), LeadershipLostError);
    await call('GET');
    assert.deepEqual(
      api.requests.map(({ method }) => method),
      ['GET'],
    );
  });

  it('does not repeat a refused write when the lease ran out meanwhile', async () => {
    api.fail({ kind: 'reply', code: 429, retryAfterSeconds: 0 });
    const outcome = call('PUT');
    lease.isFresh = false;
    await assert.rejects(outcome, LeadershipLostError);
  });
});
