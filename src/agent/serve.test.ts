import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { STORE_QUESTION_BYTES } from '../api/store.ts';
import type { AnswerOutput } from './answer.ts';
import { serveStore, type ServeOptions } from './serve.ts';
import { aRequest, aStore, RECORDINGS, wav } from './testing/fixtures.ts';
import type { TestStore } from './testing/fixtures.ts';

const MAIN = join(import.meta.dirname, '..', 'main.ts');
const TOKEN = 'a secret of enough characters'.replaceAll(' ', '-');
const NEW_TOKEN = 'another-secret-of-the-same-kind';

const anyAnswer = z.looseObject({
  verdict: z.string().optional(),
  error: z.string().optional(),
  entries: z.array(z.looseObject({ name: z.string() })).optional(),
});

async function call(
  port: number,
  path: string,
  { token = TOKEN, body = '{}', method = 'POST' }: { token?: string; body?: string; method?: string } = {},
): Promise<{ status: number; answer: z.infer<typeof anyAnswer> }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(method === 'GET' ? {} : { body }),
  });
  return { status: response.status, answer: anyAnswer.parse(await response.json()) };
}

describe('the HTTP side of the store agent', () => {
  let tokenFile: string;
  let stop: AbortController;
  let served: Promise<void>;
  let lines: string[];
  let asked: string[];
  beforeEach(async () => {
    tokenFile = join(tmpdir(), `token-${process.pid}-${Date.now()}`);
    await writeFile(tokenFile, `${TOKEN}\n`);
    stop = new AbortController();
    lines = [];
    asked = [];
    served = Promise.resolve();
  });
  afterEach(async () => {
    stop.abort();
    await served;
    await rm(tokenFile, { force: true });
  });

  const start = (ask: ServeOptions['ask'], concurrency = 2): Promise<number> =>
    new Promise((resolve, reject) => {
      served = serveStore({
        listen: { host: '127.0.0.1', port: 0 },
        tokenFile,
        concurrency,
        ask,
        signal: stop.signal,
        log: (line) => lines.push(line),
        onListening: resolve,
      });
      served.catch(reject);
    });
  const echo: ServeOptions['ask'] = (question, { body }) => {
    asked.push(question);
    return { output: Promise.resolve({ answer: { question, body } }), gone: Promise.resolve() };
  };

  it('hands question and body on, and the answer back', async () => {
    const port = await start(echo);
    assert.deepEqual(await call(port, '/v1/survey', { body: '{"x":1}' }), {
      status: 200,
      answer: { question: 'survey', body: '{"x":1}' },
    });
    assert.match(lines.at(-1) ?? '', /^survey 200 in \d+ ms$/);
  });

  it('tells anybody that it is alive, and nothing else', async () => {
    const port = await start(echo);
    assert.equal((await call(port, '/healthz', { method: 'GET', token: '' })).status, 200);
    assert.equal((await call(port, '/v1/survey', { method: 'GET' })).status, 404);
    assert.equal((await call(port, '/etc/passwd')).status, 404);
    assert.deepEqual(asked, []);
  });

  for (const token of ['', 'wrong', `${TOKEN}x`, TOKEN.slice(0, -1), TOKEN.toUpperCase()]) {
    it(`lets nobody in with the token "${token}"`, async () => {
      const port = await start(echo);
      assert.equal((await call(port, '/v1/sweep', { token })).status, 401);
      assert.deepEqual(asked, []);
    });
  }

  it('follows a rotation without a restart; with two lines both secrets are good', async () => {
    const port = await start(echo);
    await writeFile(tokenFile, `${NEW_TOKEN}\n${TOKEN}\n`);
    assert.equal((await call(port, '/v1/survey')).status, 200);
    assert.equal((await call(port, '/v1/survey', { token: NEW_TOKEN })).status, 200);
    await writeFile(tokenFile, `${NEW_TOKEN}\n`);
    assert.equal((await call(port, '/v1/survey')).status, 401);
    assert.equal((await call(port, '/v1/survey', { token: NEW_TOKEN })).status, 200);
  });

  it('lets nobody in while there is no secret, and says why once', async () => {
    const port = await start(echo);
    await writeFile(tokenFile, 'short\n\n');
    for (const token of ['short', '', TOKEN])
      assert.equal((await call(port, '/v1/survey', { token })).status, 401);
    await rm(tokenFile);
    assert.equal((await call(port, '/v1/survey')).status, 401);
    const told = lines.filter((line) => line.startsWith('nobody is let in'));
    assert.equal(told.length, 2);
    assert.match(told[0] ?? '', /holds no secret of at least 16 characters/);
  });

  it('does not start without a secret', async () => {
    await writeFile(tokenFile, '');
    await assert.rejects(start(echo), /holds no secret/);
    served = Promise.resolve();
  });

  it('refuses a large body before it asks who sends it', async () => {
    const port = await start(echo);
    const { status } = await call(port, '/v1/survey', {
      body: 'x'.repeat(STORE_QUESTION_BYTES + 1),
      token: 'wrong',
    });
    assert.equal(status, 413);
  });

  it('refuses a body of unknown length', async () => {
    const port = await start(echo);
    const socket = connect(port, '127.0.0.1');
    socket.write(
      `POST /v1/survey HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const [chunk] = await once(socket.setEncoding('utf8'), 'data');
    assert.match(String(chunk), /^HTTP\/1\.1 411 /);
    socket.destroy();
  });

  it('answers so many at once and refuses the others, until the processes are gone', async () => {
    const open: (() => void)[] = [];
    const waiting: ServeOptions['ask'] = () => {
      const { promise, resolve } = Promise.withResolvers<AnswerOutput>();
      const ended = Promise.withResolvers<void>();
      open.push(() => resolve({ answer: {} }), ended.resolve);
      return { output: promise, gone: ended.promise };
    };
    const port = await start(waiting, 1);
    const first = call(port, '/v1/survey');
    while (open.length === 0) await sleep(5);
    assert.equal((await call(port, '/v1/survey')).status, 503);
    open[0]?.();
    assert.equal((await first).status, 200);
    assert.equal((await call(port, '/v1/survey')).status, 503, 'its process still holds the place');
    open[1]?.();
    const again = call(port, '/v1/survey');
    while (open.length < 4) await sleep(5);
    open[2]?.();
    assert.equal((await again).status, 200);
    open[3]?.();
  });

  it('ends the work of a client that left', async () => {
    const ended = Promise.withResolvers<void>();
    const port = await start((_question, { signal }) => {
      signal.addEventListener('abort', () => ended.resolve());
      const output = ended.promise.then((): AnswerOutput => ({ error: 'killed', asker: false }));
      return { output, gone: output };
    });
    await assert.rejects(
      fetch(`http://127.0.0.1:${port}/v1/survey`, {
        method: 'POST',
        body: '{}',
        headers: { authorization: `Bearer ${TOKEN}` },
        signal: AbortSignal.timeout(100),
      }),
    );
    await ended.promise;
  });
});

describe('agent serve, as a real process', () => {
  let store: TestStore;
  let tokenFile: string;
  let agent: ChildProcess | undefined;
  beforeEach(async () => {
    store = await aStore();
    await store.put(`${RECORDINGS}/a.wav`, wav(1));
    tokenFile = `${store.root}-token`;
    await writeFile(tokenFile, TOKEN);
  });
  afterEach(async () => {
    if (agent?.exitCode === null) {
      agent.kill('SIGTERM');
      await once(agent, 'exit');
    }
    await store.remove();
    await rm(tokenFile, { force: true });
  });

  async function start(...flags: string[]): Promise<number> {
    const args = [
      'agent',
      'serve',
      '--store',
      store.root,
      '--token-file',
      tokenFile,
      '--port',
      '0',
      ...flags,
    ];
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    agent = child;
    const [line] = await once(createInterface(child.stdout), 'line');
    return Number(/port (\d+)/.exec(String(line))?.[1]);
  }

  it('surveys, lists and sweeps a real store, and stops at once on SIGTERM', async () => {
    await store.put('outputs/.staging/task-9/pod/x');
    const port = await start('--least-idle-seconds', '0');
    const survey = await call(port, '/v1/survey', { body: JSON.stringify(aRequest()) });
    assert.deepEqual([survey.status, survey.answer.verdict], [200, 'Ready']);
    const { answer: staging } = await call(port, '/v1/staging');
    assert.deepEqual(
      staging.entries?.map(({ name }) => name),
      ['task-9'],
    );
    const remove = [{ dataset: 'lab/corpus', name: 'task-9', minIdleSeconds: 0 }];
    const sweep = await call(port, '/v1/sweep', { body: JSON.stringify({ remove }) });
    assert.deepEqual(sweep.answer, { v: 1, removed: 1, kept: [] });
    agent?.kill('SIGTERM');
    assert.ok(agent !== undefined);
    assert.deepEqual(await once(agent, 'exit'), [0, null]);
  }).timeout(60_000);

  it('tells a wrong question from a store that is at fault', async () => {
    const port = await start();
    assert.equal((await call(port, '/v1/survey', { body: '{"schema":1}' })).status, 400);
    assert.equal((await call(port, '/v1/survey', { body: 'no JSON' })).status, 400);
    await rm(store.root, { recursive: true });
    const { status, answer } = await call(port, '/v1/survey', { body: JSON.stringify(aRequest()) });
    assert.equal(status, 503);
    assert.match(answer.error ?? '', /ENOENT/);
  }).timeout(60_000);

  it('kills a question that never ends, stays alive meanwhile, and goes on with others', async () => {
    // A pattern that backtracks for longer than anybody lives, and the name that makes it do so.
    await store.put(`${RECORDINGS}/${'a'.repeat(200)}.wav`, wav());
    const port = await start('--milliseconds', '100', '--concurrency', '1');
    const endless = aRequest({ include: [`${'*a'.repeat(40)}*b.wav`] });
    const hanging = call(port, '/v1/survey', { body: JSON.stringify(endless) });
    await sleep(1000);
    assert.equal((await call(port, '/healthz', { method: 'GET' })).status, 200);
    assert.equal((await call(port, '/v1/survey')).status, 503, 'the only place is taken');
    const { status, answer } = await hanging;
    assert.equal(status, 503);
    assert.match(answer.error ?? '', /^no answer within 100 ms and 384 MiB/);
    // Its exit frees the place; the answer itself does not wait for that.
    let next = 'busy: ask again';
    for (let tries = 0; next === 'busy: ask again' && tries < 100; tries++) {
      await sleep(50);
      next = String((await call(port, '/v1/survey', { body: 'no JSON' })).answer.error);
    }
    assert.match(next, /^(the question is not understood|no answer within)/);
  }).timeout(60_000);
});
