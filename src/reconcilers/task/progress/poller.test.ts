import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { systemClock } from '../../../controller/clock.ts';
import { silentLog } from '../../../controller/log.ts';
import { until } from '../../../controller/testing/until.ts';
import { aPod, runningState } from '../../../jobs/testing/fixtures.ts';
import { pollProgress } from './poller.ts';
import { createProgressBook } from './book.ts';

const RUNNING = aPod({ model: runningState }, { ip: '127.0.0.1' });

describe('pollProgress()', () => {
  let server: Server;
  let asked = 0;
  let open = 0;
  const lease = { isFresh: true };
  let stop: AbortController;
  let polling: Promise<void>;

  beforeEach(async () => {
    [asked, open] = [0, 0];
    lease.isFresh = true;
    stop = new AbortController();
    server = createServer((_request, response) => {
      asked++;
      open++;
      response.once('close', () => open--); // never answered
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const deps = {
      pods: () => [RUNNING],
      book: createProgressBook(systemClock),
      changed: () => undefined,
      isFresh: () => lease.isFresh,
      intervalMs: 20,
      clock: systemClock,
      log: silentLog,
      port: typeof address === 'object' && address ? address.port : 0,
    };
    polling = pollProgress(deps, stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await polling;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('hangs up at once when the leadership is lost, however slow the pod is', async () => {
    await until(() => open === 1);
    const before = performance.now();
    stop.abort();
    await polling;
    assert.ok(performance.now() - before < 1000, 'it did not wait for the answer');
    await until(() => open === 0);
  });

  it('asks nobody while the lease is not fresh', async () => {
    await until(() => asked > 0);
    lease.isFresh = false;
    server.closeAllConnections();
    const before = asked;
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(asked, before);
  });
});
