import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { aRequest, RECORDINGS, wav } from '../../src/agent/testing/fixtures.ts';
import { surveyAnswer, type SurveyAnswer } from '../../src/api/store.ts';
import { createStoreClient, type StoreClient, StoreError } from '../../src/reconcilers/task/store/client.ts';
import { aStoreAgent, type StoreAgent } from '../support/store-agent.ts';

const about = (what: 'agent' | 'question', message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StoreError);
  assert.match(error.message, message);
  return error.about === what;
};

describe("the controller's client of the store agent", () => {
  let client: StoreClient | undefined;
  afterEach(() => client?.close());

  const ask = (urlTemplate: string, tokenFile: string, timeoutMs = 30_000): Promise<SurveyAnswer> => {
    client = createStoreClient({ urlTemplate, tokenFile, timeoutMs });
    const signal = new AbortController().signal;
    return client.ask('lab', 'survey', { body: aRequest(), answer: surveyAnswer, signal });
  };

  describe('and a real agent', () => {
    let agent: StoreAgent;
    beforeEach(async () => {
      agent = await aStoreAgent();
      await agent.put(`lab/corpus/${RECORDINGS}/a.wav`, wav(1));
    });
    afterEach(() => agent.remove());

    it('get an answer', async () => {
      await agent.start();
      assert.equal((await ask(agent.url(), agent.tokenFile)).verdict, 'Ready');
    });

    it('follow a rotation of the secret on both sides, whoever sees it first', async () => {
      await agent.start();
      const mine = `${agent.tokenFile}-of-the-controller`;
      const [old, next] = ['old-secret-of-the-lab', 'new-secret-of-the-lab'];
      await writeFile(mine, old);
      await writeFile(agent.tokenFile, old);
      assert.equal((await ask(agent.url(), mine)).verdict, 'Ready');
      await writeFile(agent.tokenFile, `${next}\n${old}\n`);
      assert.equal((await ask(agent.url(), mine)).verdict, 'Ready');
      await writeFile(mine, `${next}\n${old}\n`);
      assert.equal((await ask(agent.url(), mine)).verdict, 'Ready');
      await writeFile(agent.tokenFile, next);
      assert.equal((await ask(agent.url(), mine)).verdict, 'Ready');
      await writeFile(mine, old);
      await assert.rejects(ask(agent.url(), mine), about('agent', /does not accept the token/));
    });

    it('end in time when the agent is stopped in the middle of everything', async () => {
      await agent.start();
      agent.signal('SIGSTOP');
      const started = performance.now();
      await assert.rejects(ask(agent.url(), agent.tokenFile, 1000), about('agent', /does not answer/));
      assert.ok(performance.now() - started < 10_000);
      agent.signal('SIGCONT');
      assert.equal((await ask(agent.url(), agent.tokenFile)).verdict, 'Ready');
    });

    it('tell an agent that is not there from one that cannot tell', async () => {
      await agent.start('--concurrency', '1');
      const taken = assert.rejects(ask(agent.url(), agent.tokenFile), about('agent', /does not answer/));
      const endAnswer = await agent.holdAnswer();
      await assert.rejects(ask(agent.url(), agent.tokenFile, 2000), about('question', /busy for 2000 ms/));
      await agent.stop();
      endAnswer();
      await taken;
      await assert.rejects(ask(agent.url(), agent.tokenFile), about('agent', /ECONNREFUSED/));
    });

    it('survey a dataset of 20 000 recordings in one answer', async () => {
      for (let night = 0; night < 20; night++)
        await Promise.all(
          Array.from({ length: 1000 }, (_, index) =>
            agent.put(`lab/corpus/${RECORDINGS}/night ${night}/${index}.wav`, wav(0.01)),
          ),
        );
      await agent.start('--milliseconds', '50000');
      const { verdict, effort } = await ask(agent.url(), agent.tokenFile, 60_000);
      assert.deepEqual([verdict, effort?.units, effort?.inputs], ['Ready', 20_001, 20_001]);
    });
  });

  // What an agent of this version never does: the answers of a broken or hostile one.
  describe('and somebody else at the address', () => {
    let server: Server | undefined;
    afterEach(() => {
      server?.closeAllConnections();
      server?.close();
    });

    const rows: Record<string, { answer: RequestListener; what: 'agent' | 'question'; message: RegExp }> = {
      'refuse an answer without end': {
        answer: (_request, response) => {
          response.writeHead(200);
          const more = (): void => {
            if (!response.destroyed) response.write('x'.repeat(65_536), () => setImmediate(more));
          };
          more();
        },
        what: 'agent',
        message: /does not answer/,
      },
      'do not wait for an answer that drips': {
        answer: (_request, response) => {
          response.writeHead(200);
          const timer = setInterval(() => response.write(' '), 50);
          response.on('close', () => clearInterval(timer));
        },
        what: 'agent',
        message: /does not answer/,
      },
      'follow no redirect': {
        answer: (_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
        what: 'agent',
        message: /answered 302/,
      },
      'take no other document': {
        answer: (_request, response) => response.writeHead(200).end('{"v":2,"verdict":"Ready"}'),
        what: 'agent',
        message: /no answer of this version/,
      },
      'take no web page': {
        answer: (_request, response) => response.writeHead(200).end('<html>'),
        what: 'agent',
        message: /no answer of this version/,
      },
      'go without an answer to a question that it does not understand': {
        answer: (_request, response) => response.writeHead(400).end('{"error":"what?"}'),
        what: 'question',
        message: /cannot tell: \{"error":"what\?"\}/,
      },
      'take a connection that is cut for no answer': {
        answer: (request) => request.socket.destroy(),
        what: 'agent',
        message: /does not answer/,
      },
    };
    for (const [name, { answer, what, message }] of Object.entries(rows)) {
      it(name, async () => {
        const listening = createServer(answer);
        server = listening;
        await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
        const address = listening.address();
        assert.ok(address !== null && typeof address === 'object');
        const token = new URL(import.meta.url).pathname;
        await assert.rejects(ask(`http://127.0.0.1:${address.port}/`, token, 1500), about(what, message));
      });
    }
  });
});
