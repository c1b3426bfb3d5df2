import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'mocha';
import { outboxEntry } from '../api/callbacks.ts';
import { aTask, claimed } from '../jobs/testing/fixtures.ts';
import { callbackSettings } from './config.ts';
import { replayEnd } from './replay.ts';

const FINISHED = '2026-03-01T12:30:00Z';

/** A receiver over a real socket. */
describe('replayEnd()', () => {
  let server: Server;
  let url: string;
  let ids: string[];
  let status: number;
  const directory = mkdtempSync(join(tmpdir(), 'replay-'));

  before(async () => {
    writeFileSync(join(directory, 'secret'), `whsec_${Buffer.alloc(24, 7).toString('base64')}\n`);
    server = createServer((request, response) => {
      ids.push(String(request.headers['webhook-id']));
      request.resume().on('end', () => response.writeHead(status).end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/hook`;
  });
  after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  beforeEach(() => {
    ids = [];
    status = 204;
  });

  const callbacks = ['lab'];
  const ended = aTask(
    { callbacks },
    claimed({ phase: 'Succeeded', reason: 'Published', finishedAt: FINISHED }),
  );
  const running = aTask({ callbacks }, claimed({ phase: 'Running', reason: 'Running' }));

  async function replay(
    task: typeof ended,
    { endpoint, ...change }: { endpoint?: string; namespaces?: string[] } = {},
  ) {
    const lab = { url, secretDirectory: directory, allowHttp: true, allowPrivateAddresses: true, ...change };
    const lines: string[] = [];
    const endpoints = callbackSettings.parse({ lab });
    const signal = AbortSignal.timeout(10_000);
    const failures = await replayEnd(task, {
      endpoints,
      endpoint,
      print: (line) => void lines.push(line),
      signal,
    });
    return { failures, lines };
  }

  it('sends the end under the id that it always has', async () => {
    const { id } = outboxEntry(ended.metadata.uid, {
      event: 'succeeded',
      sequence: 2,
      endpoint: 'lab',
      at: new Date(),
    });
    assert.deepEqual(await replay(ended), { failures: 0, lines: [`lab: ${id} delivered`] });
    assert.deepEqual(ids, [id]);
  });

  it('tells which endpoint did not take it', async () => {
    status = 500;
    const { failures, lines } = await replay(ended);
    assert.equal(failures, 1);
    assert.match(lines[0] ?? '', /^lab: evt_\w+ failed \(the receiver answered 500\)$/);
  });

  const refusals: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    ['a task that has not ended', () => replay(running), /has not ended \(phase Running\)/],
    [
      'an endpoint that the task does not name',
      () => replay(ended, { endpoint: 'x' }),
      /names no .*"x": it names lab/,
    ],
    [
      'an endpoint of other namespaces',
      () => replay(ended, { namespaces: ['other'] }),
      /not for tasks of namespace/,
    ],
  ];
  for (const [what, run, message] of refusals)
    it(`refuses ${what}, and sends nothing`, async () => {
      await assert.rejects(run(), message);
      assert.deepEqual(ids, []);
    });
});
