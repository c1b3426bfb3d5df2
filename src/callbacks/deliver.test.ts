import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before, beforeEach, describe, it } from 'mocha';
import { Registry } from 'prom-client';
import { Webhook } from 'standardwebhooks';
import { z } from 'zod';
import type { Ended } from '../api/callbacks.ts';
import type { AnalysisTask } from '../api/objects.ts';
import type { OutboxEntry } from '../api/task.ts';
import { systemClock } from '../controller/clock.ts';
import { silentLog } from '../controller/log.ts';
import { until } from '../controller/testing/until.ts';
import { aTask, claimed } from '../jobs/testing/fixtures.ts';
import { callbackSettings, type Endpoint } from './config.ts';
import { deliverCallbacks } from './deliver.ts';
import { createCallbackMetrics } from './metrics.ts';

const SECRET = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`;
const OLD = `whsec_${Buffer.from('the secret before this one').toString('base64')}`;

interface Got {
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly type: string;
}

/** A receiver over a real socket that answers as it is told. */
describe('deliverCallbacks()', () => {
  let server: Server;
  let url: string;
  let got: Got[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const directory = mkdtempSync(join(tmpdir(), 'callback-'));

  before(async () => {
    writeFileSync(join(directory, 'secret'), `${SECRET}\n`);
    writeFileSync(join(directory, 'previous'), `${OLD}\n`);
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
        got.push({ headers, body, type: String(JSON.parse(body).type) });
        answer(request, response);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/hook`;
  });
  after(() => server.close());
  beforeEach(() => {
    got = [];
    answer = (_request, response) => response.writeHead(204).end();
  });

  const entry = (change: Partial<OutboxEntry> = {}): OutboxEntry => ({
    id: 'evt_1',
    type: 'dev.elsi.analysis.task.succeeded',
    sequence: 2,
    endpoint: 'lab',
    time: new Date().toISOString(),
    ...change,
  });
  const task = (...outbox: OutboxEntry[]): AnalysisTask =>
    aTask({ callbacks: ['lab'] }, claimed({ phase: 'Succeeded', reason: 'Published', outbox }));

  interface Run {
    readonly ended: Map<string, Ended>;
    readonly stop: () => Promise<void>;
  }

  const registry = new Registry();
  const metrics = createCallbackMetrics(registry);
  let tried = 0;
  beforeEach(() => void (tried = 0));
  const attempted: typeof metrics.attempted = (...attempt) => {
    tried++;
    metrics.attempted(...attempt);
  };

  function start(tasks: readonly AnalysisTask[], change: Partial<Endpoint> = {}, mayAct = () => true): Run {
    const endpoints = callbackSettings.parse({
      lab: {
        url,
        secretDirectory: directory,
        allowHttp: true,
        allowPrivateAddresses: true,
        timeoutSeconds: 1,
        ...change,
      },
    });
    const ended = new Map<string, Ended>();
    const stop = new AbortController();
    const running = deliverCallbacks(
      {
        endpoints,
        tasks: () => tasks,
        ended,
        changed: () => undefined,
        mayAct,
        clock: systemClock,
        random: () => 1,
        metrics: { attempted },
        log: silentLog,
      },
      stop.signal,
    );
    return {
      ended,
      stop: () => {
        stop.abort(new Error('done'));
        return running;
      },
    };
  }

  it('delivers an event that the reference library verifies, with the new secret and with the old', async () => {
    const run = start([task(entry())]);
    await until(() => run.ended.get('evt_1') === 'delivered');
    await run.stop();
    assert.equal(got.length, 1);
    const { headers, body } = got[0] ?? assert.fail('nothing came');
    for (const secret of [SECRET, OLD]) new Webhook(secret).verify(body, headers);
    assert.throws(() => new Webhook(SECRET).verify(`${body} `, headers));
    assert.match(headers['content-type'] ?? '', /^application\/cloudevents\+json/);
    const event = z.looseObject({}).parse(JSON.parse(body));
    assert.deepEqual({ ...event, specversion: '1.0', id: 'evt_1', sequence: '2' }, event);
  });

  it('repeats an event under the same id until it is taken', async () => {
    let left = 2;
    answer = (_request, response) => response.writeHead(left-- > 0 ? 500 : 200).end('{}');
    const run = start([task(entry())]);
    await until(() => run.ended.size === 1, 15_000);
    await run.stop();
    assert.deepEqual(
      got.map(({ headers }) => headers['webhook-id']),
      ['evt_1', 'evt_1', 'evt_1'],
    );
  }).timeout(20_000);

  it('keeps the events of a task in order, however long the first one takes', async () => {
    let left = 1;
    answer = (_request, response) => response.writeHead(left-- > 0 ? 503 : 200).end();
    const first = entry({ id: 'evt_0', sequence: 1, type: 'dev.elsi.analysis.task.started' });
    const run = start([task(entry(), first)]);
    await until(() => run.ended.size === 2, 15_000);
    await run.stop();
    const types = got.map(({ type }) => type.split('.').at(-1));
    assert.deepEqual(types, ['started', 'started', 'succeeded']);
  }).timeout(20_000);

  it('does not follow a redirect', async () => {
    answer = (_request, response) => response.writeHead(302, { location: url }).end();
    const run = start([task(entry())]);
    await until(() => got.length === 1);
    await pause(500); // a redirect would be followed at once, a repetition comes after 2 s
    await run.stop();
    assert.equal(run.ended.size, 0);
    assert.equal(got.length, 1);
  });

  it('gives up at once when the receiver is gone for good', async () => {
    answer = (_request, response) => response.writeHead(410).end();
    const run = start([task(entry())]);
    await until(() => run.ended.get('evt_1') === 'givenUp');
    await run.stop();
  });

  it('gives up when the event is older than its patience', async () => {
    answer = (_request, response) => response.writeHead(500).end();
    const old = entry({ time: new Date(Date.now() - 60_000).toISOString() });
    const run = start([task(old)], { giveUpAfterSeconds: 30 });
    await until(() => run.ended.get('evt_1') === 'givenUp');
    await run.stop();
  });

  it('waits no longer than its time limit for a receiver that says nothing, and others are served meanwhile', async () => {
    answer = (request, response) => {
      if (request.headers['webhook-id'] === 'evt_2') response.writeHead(200).end();
    };
    const other = { ...task(entry({ id: 'evt_2' })), metadata: { ...task().metadata, uid: 'other' } };
    const run = start([task(entry()), other]);
    await until(() => run.ended.get('evt_2') === 'delivered');
    assert.equal(run.ended.has('evt_1'), false);
    await until(() => got.filter(({ headers }) => headers['webhook-id'] === 'evt_1').length === 2, 15_000);
    await run.stop();
  }).timeout(20_000);

  it('honours Retry-After', async () => {
    answer = (_request, response) => response.writeHead(429, { 'retry-after': '3600' }).end();
    const run = start([task(entry())]);
    await until(() => got.length === 1);
    await pause(2600);
    await run.stop();
    assert.equal(got.length, 1);
  });

  it('sends nothing while the lease is not fresh', async () => {
    const run = start([task(entry())], {}, () => false);
    await pause(600);
    await run.stop();
    assert.equal(got.length, 0);
  });

  it('tries no endpoint that is not configured, and counts all of them as one', async () => {
    const strangers = ['https://10.0.0.1/', 'constructor', '__proto__'];
    const run = start([task(...strangers.map((endpoint) => entry({ id: endpoint, endpoint })))]);
    await until(() => tried === strangers.length);
    await run.stop();
    assert.deepEqual([got, run.ended.size], [[], 0]);
    const page = await registry.metrics();
    assert.match(page, /\{endpoint="unconfigured",result="failed"\} 3$/m);
    for (const stranger of strangers) assert.ok(!page.includes(stranger), stranger);
  });

  it('sends nothing to an address inside, unless the administrator allows it', async () => {
    const run = start([task(entry())], { allowPrivateAddresses: false });
    await until(() => run.ended.get('evt_1') === 'givenUp');
    await run.stop();
    assert.equal(got.length, 0);
  });
});
