import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { HealthServer } from './health.ts';
import { startHealthServer } from './health.ts';
import { createMetrics } from './metrics.ts';

describe('health server', () => {
  let server: HealthServer;
  let isSynced = false;
  beforeEach(async () => {
    server = await startHealthServer({
      host: '127.0.0.1',
      port: 0,
      livez: { loop: () => undefined },
      readyz: {
        caches: async () => {
          if (!isSynced) throw new Error('tasks are not listed yet');
        },
        leader: () => undefined,
      },
      registry: createMetrics().registry,
    });
  });
  afterEach(() => server.close());

  const cases: Record<
    string,
    { path: string; synced: boolean; method?: string; code: number; text: RegExp }
  > = {
    'is alive': { path: '/livez', synced: false, code: 200, text: /^ok\n$/ },
    'names the failing check': {
      path: '/readyz',
      synced: false,
      code: 503,
      text: /^\[-\]caches failed: tasks are not listed yet\nfailed\n$/,
    },
    'is ready': { path: '/readyz', synced: true, code: 200, text: /^ok\n$/ },
    'lists all checks when asked': {
      path: '/readyz?verbose',
      synced: true,
      code: 200,
      text: /^\[\+\]caches ok\n\[\+\]leader ok\nok\n$/,
    },
    'serves metrics': { path: '/metrics', synced: true, code: 200, text: /nodejs_eventloop_delay_seconds/ },
    'says what there is': { path: '/else', synced: true, code: 404, text: /\/livez, \/readyz and \/metrics/ },
    'takes no writes': { path: '/livez', synced: true, method: 'POST', code: 405, text: /only GET and HEAD/ },
  };
  for (const [name, { path, synced, method = 'GET', code, text }] of Object.entries(cases)) {
    it(name, async () => {
      isSynced = synced;
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
      assert.equal(response.status, code);
      assert.match(await response.text(), text);
    });
  }

  it('says which port is taken', async () => {
    await assert.rejects(
      startHealthServer({ host: '127.0.0.1', port: server.port }),
      /EADDRINUSE.*127\.0\.0\.1/,
    );
  });
});
