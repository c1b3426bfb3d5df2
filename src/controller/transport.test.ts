import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import {
  ApiError,
  isAlreadyExists,
  isConflict,
  isForbidden,
  isGone,
  isNotFound,
  isUnauthorized,
} from './api-error.ts';
import { isUnknownOutcome, UnknownOutcomeError, UnreachableError } from './api-error.ts';
import type { Credentials } from './kube-config.ts';
import { createMetrics } from './metrics.ts';
import type { Fault } from './testing/fake-api.ts';
import { FakeApi } from './testing/fake-api.ts';
import { createManualClock } from './testing/manual-clock.ts';
import type { Method, RequestOptions, Transport } from './transport.ts';
import { createTransport } from './transport.ts';

const COLLECTION = '/api/v1/namespaces/lab/pods';
const call = (method: Method, more: Partial<RequestOptions> = {}): RequestOptions => ({
  method,
  path: method === 'POST' ? COLLECTION : `${COLLECTION}/one`,
  ...(method === 'GET' || method === 'DELETE'
    ? {}
    : { body: { metadata: { name: method === 'POST' ? 'two' : 'one' } } }),
  timeoutMs: 3_000,
  ...more,
});

const reply = (code: number, retryAfterSeconds?: number): Fault => ({
  kind: 'reply',
  code,
  ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
});

describe('transport', () => {
  let api: FakeApi;
  let transport: Transport;
  const metrics = createMetrics();
  const open = (credentials?: (fresh: boolean) => Credentials): Transport =>
    createTransport(api.connection(credentials), { random: () => 1, metrics, connections: 1 });

  beforeEach(async () => {
    api = await FakeApi.start();
    api.store.create('pods', 'lab', { metadata: { name: 'one', uid: '', resourceVersion: '' } });
    transport = open();
  });
  afterEach(async () => {
    await transport.close();
    await api.stop();
  });

  describe('repeats a call only when the server surely did nothing', () => {
    const failure = { api: ApiError, lost: UnknownOutcomeError, away: UnreachableError };
    const cases: Record<
      string,
      { method: Method; fault: Fault; ends: 'ok' | keyof typeof failure; sent: number }
    > = {
      'a read after 500': { method: 'GET', fault: reply(500), ends: 'ok', sent: 2 },
      'a read after 503': { method: 'GET', fault: reply(503), ends: 'ok', sent: 2 },
      'a read after 429': { method: 'GET', fault: reply(429), ends: 'ok', sent: 2 },
      'a read whose connection broke': {
        method: 'GET',
        fault: { kind: 'drop-request' },
        ends: 'ok',
        sent: 2,
      },
      'a read whose answer was lost': {
        method: 'GET',
        fault: { kind: 'drop-response' },
        ends: 'ok',
        sent: 2,
      },
      'a read answered with garbage': { method: 'GET', fault: { kind: 'garbage' }, ends: 'ok', sent: 2 },
      'a create after 429 with Retry-After': { method: 'POST', fault: reply(429, 0), ends: 'ok', sent: 2 },
      'a create after 503 with Retry-After': { method: 'POST', fault: reply(503, 0), ends: 'ok', sent: 2 },
      'no create after a bare 503': { method: 'POST', fault: reply(503), ends: 'api', sent: 1 },
      'no create after 500': { method: 'POST', fault: reply(500), ends: 'api', sent: 1 },
      'no create whose connection broke': {
        method: 'POST',
        fault: { kind: 'drop-request' },
        ends: 'lost',
        sent: 1,
      },
      'no create whose answer was lost': {
        method: 'POST',
        fault: { kind: 'drop-response' },
        ends: 'lost',
        sent: 1,
      },
      'no create answered with garbage': {
        method: 'POST',
        fault: { kind: 'garbage' },
        ends: 'lost',
        sent: 1,
      },
      'no replace whose answer was lost': {
        method: 'PUT',
        fault: { kind: 'drop-response' },
        ends: 'lost',
        sent: 1,
      },
      'no delete whose answer was lost': {
        method: 'DELETE',
        fault: { kind: 'drop-response' },
        ends: 'lost',
        sent: 1,
      },
      'no patch whose answer was lost': {
        method: 'PATCH',
        fault: { kind: 'drop-response' },
        ends: 'lost',
        sent: 1,
      },
      'no read after 403': { method: 'GET', fault: reply(403), ends: 'api', sent: 1 },
      'no write after 422': { method: 'PUT', fault: reply(422), ends: 'api', sent: 1 },
      'no read when Retry-After is beyond the deadline': {
        method: 'GET',
        fault: reply(429, 60),
        ends: 'api',
        sent: 1,
      },
    };
    for (const [name, { method, fault, ends, sent }] of Object.entries(cases)) {
      it(name, async () => {
        api.fail(fault);
        const outcome = transport.request(call(method));
        if (ends === 'ok') await outcome;
        else await assert.rejects(outcome, (error) => error instanceof failure[ends]);
        assert.equal(api.requests.length, sent);
      });
    }
  });

  it('gives up a read after five tries', async () => {
    api.fail({ kind: 'reply', code: 503 }, () => true, 100);
    const quick = createTransport(api.connection(), { random: () => 4 });
    await assert.rejects(quick.request(call('GET')), ApiError);
    assert.equal(api.requests.length, 5);
    await quick.close();
  });

  describe('when one caller is told to come back later', () => {
    const clock = createManualClock();
    const busy = async (seconds: number): Promise<void> => {
      await transport.close();
      transport = createTransport(api.connection(), { random: () => 1, clock });
      api.fail(reply(429, seconds));
      await assert.rejects(transport.request(call('POST', { timeoutMs: 1000 })), ApiError);
    };

    it('every call waits as long, except those for the lease', async () => {
      await busy(2);
      await transport.request(call('GET', { pool: 'lease', timeoutMs: 1000 }));
      const read = transport.request(call('GET'));
      await clock.advance(1999);
      assert.equal(api.requests.length, 2);
      await clock.advance(1);
      await read;
      assert.equal(api.requests.length, 3);
    });

    it('a call that has less time says that it was never sent', async () => {
      await busy(2);
      await assert.rejects(transport.request(call('PUT', { timeoutMs: 1000 })), (error) => {
        assert.ok(error instanceof UnreachableError);
        assert.match(error.message, /was not sent: the API server wants a pause of 2 s/);
        return true;
      });
      assert.equal(api.requests.length, 1);
    });

    it('a pause of days is cut to a minute', async () => {
      await busy(200_000);
      await clock.advance(60_000);
      await transport.request(call('GET'));
    });
  });

  it('tells a write that never left from one that may have happened', async () => {
    await api.stop();
    await assert.rejects(transport.request(call('POST', { timeoutMs: 500 })), (error) => {
      assert.ok(error instanceof UnreachableError);
      assert.equal(isUnknownOutcome(error), false);
      return true;
    });
    api = await FakeApi.start();
  });

  it('ends a stalled write at its deadline with an unknown outcome', async () => {
    api.fail({ kind: 'stall' });
    await assert.rejects(transport.request(call('PUT', { timeoutMs: 50 })), UnknownOutcomeError);
  });

  it("ends with the caller's reason when the caller aborts", async () => {
    api.fail({ kind: 'stall' });
    const stop = new AbortController();
    const outcome = transport.request(call('GET', { signal: stop.signal }));
    const reason = new Error('leadership lost');
    setImmediate(() => stop.abort(reason));
    await assert.rejects(outcome, reason);
  });

  it('reads the token again after a 401, once', async () => {
    let reads = 0;
    api.token = 'new';
    await transport.close();
    transport = open((fresh) => {
      reads += fresh ? 1 : 0;
      return { token: reads > 0 ? 'new' : 'old' };
    });
    await transport.request(call('POST'));
    assert.deepEqual(
      api.requests.map(({ token }) => token),
      ['old', 'new'],
    );
    api.token = 'newest';
    await assert.rejects(transport.request(call('GET')), isUnauthorized);
    assert.equal(reads, 2);
  });

  it('opens new connections when the certificates change, and only then', async () => {
    let ca = 'one';
    let token = 'a';
    await transport.close();
    transport = open(() => ({ ca, token }));
    for (token of ['a', 'b', 'c']) await transport.request(call('GET'));
    assert.equal(api.sockets, 1);
    ca = 'two';
    await transport.request(call('GET'));
    assert.equal(api.sockets, 2);
  });

  it('keeps leader election on a connection of its own', async () => {
    await transport.request(call('GET'));
    await transport.request(call('GET', { pool: 'lease' }));
    const [first, second] = api.requests.map(({ socket }) => socket);
    assert.notEqual(first, second);
  });

  it('refuses a body above the bound before sending it', async () => {
    const outcome = transport.request(call('POST', { body: { blob: 'x'.repeat(4 * 2 ** 20) } }));
    await assert.rejects(outcome, { name: 'BodyTooLargeError' });
    assert.equal(api.requests.length, 0);
  });

  it('refuses an answer above the bound', async () => {
    const small = createTransport(api.connection(), { maxResponseBytes: 10 });
    await assert.rejects(small.request(call('GET')), { name: 'BodyTooLargeError' });
    await small.close();
  });

  it('counts requests under bounded labels', async () => {
    await transport.request(call('GET'));
    const text = await metrics.registry.getSingleMetricAsString('rest_client_requests_total');
    assert.match(text, /code="200",method="GET",host="127.0.0.1:\d+"/);
  });
});

const anError = (code: number, reason = ''): ApiError =>
  new ApiError({ method: 'GET', path: '/x', code, reason });

describe('ApiError', () => {
  const cases: Record<string, { guard: (error: unknown) => boolean; yes: ApiError; no: ApiError }> = {
    'a conflict is not a taken name': {
      guard: isConflict,
      yes: anError(409, 'Conflict'),
      no: anError(409, 'AlreadyExists'),
    },
    'a taken name is not a conflict': {
      guard: isAlreadyExists,
      yes: anError(409, 'AlreadyExists'),
      no: anError(409, 'Conflict'),
    },
    'gone by code': { guard: isGone, yes: anError(410), no: anError(404) },
    'gone by reason': { guard: isGone, yes: anError(400, 'Expired'), no: anError(400) },
    'not found': { guard: isNotFound, yes: anError(404), no: anError(410) },
    'forbidden is not unauthorized': { guard: isForbidden, yes: anError(403), no: anError(401) },
  };
  for (const [name, { guard, yes, no }] of Object.entries(cases)) {
    it(name, () =>
      assert.deepEqual([guard(yes), guard(no), guard(new Error('other'))], [true, false, false]),
    );
  }

  it('carries causes, details and the page of a proxy', async () => {
    const fake = await FakeApi.start();
    const transport = createTransport(fake.connection());
    fake.fail({ kind: 'reply', code: 400, text: '<html>Bad gateway</html>' });
    await assert.rejects(transport.request(call('GET')), /answered 400: <html>Bad gateway/);
    await transport.close();
    await fake.stop();
  });
});
