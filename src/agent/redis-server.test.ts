import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { RedisServer } from './redis-server.ts';
import { serveRedis } from './redis-server.ts';
import { redisClient } from './testing/redis-client.ts';
import type { Queues } from './worker-desk.ts';

/** What the clients of a test asked of the queues. */
interface Asked {
  readonly pops: string[];
  readonly pushes: (readonly [queue: string, ...messages: string[]])[];
  readonly publications: (readonly [channel: string, message: string])[];
}

describe('the Redis server of a pod', () => {
  let server: RedisServer;
  let asked: Asked;
  let broken: boolean;
  beforeEach(async () => {
    asked = { pops: [], pushes: [], publications: [] };
    broken = false;
    const queues: Queues = {
      pop: async (queue) => (asked.pops.push(queue) === 1 ? '{"task_id":"x"}' : null),
      push: async (queue, messages) => {
        if (broken) throw new Error('ENOSPC: the volume\nis full');
        asked.pushes.push([queue, ...messages]);
      },
      publish: (channel, message) => void asked.publications.push([channel, message]),
    };
    server = await serveRedis(queues, { host: '127.0.0.1', port: 0 });
  });
  afterEach(() => server[Symbol.dispose]());

  const HELLO_FACTS =
    '$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:V\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n';

  /** Commands of one connection with their answers. */
  const talks: Readonly<Record<string, readonly (readonly [command: string, answer: string])[]>> = {
    'a greeting': [
      ['PING', '+PONG\r\n'],
      ['ping hi', '$2\r\nhi\r\n'],
      ['PING a b', "-ERR wrong number of arguments for 'ping' command\r\n"],
    ],
    'the introduction of a client': [
      ['CLIENT SETINFO LIB-NAME redis-py', '+OK\r\n'],
      ['client setname worker', '+OK\r\n'],
      ['CLIENT ID', ':1\r\n'],
      ['CLIENT KILL x', "-ERR unknown subcommand 'KILL'\r\n"],
      ['SELECT 0', '+OK\r\n'],
      ['SELECT 1', '-ERR DB index is out of range: there is only 0\r\n'],
    ],
    'both versions of the protocol': [
      ['HELLO', `*14\r\n${HELLO_FACTS.replace('V', '2')}`],
      ['HELLO 3', `%7\r\n${HELLO_FACTS.replace('V', '3')}`],
      ['RPOP run_vtc', '$15\r\n{"task_id":"x"}\r\n'],
      ['RPOP run_vtc', '_\r\n'],
      ['HELLO', `%7\r\n${HELLO_FACTS.replace('V', '3')}`],
      ['HELLO 4', '-NOPROTO unsupported protocol version\r\n'],
      ['HELLO 2', `*14\r\n${HELLO_FACTS.replace('V', '2')}`],
      ['RPOP run_vtc', '$-1\r\n'],
    ],
    'queues and channels': [
      ['RPOP run_vtc', '$15\r\n{"task_id":"x"}\r\n'],
      ['RPOP run_vtc', '$-1\r\n'],
      ['RPOP run_vtc 2', "-ERR wrong number of arguments for 'rpop' command\r\n"],
      ['LPUSH complete_task {}', ':1\r\n'],
      ['LPUSH complete_task {} {}', ':2\r\n'],
      ['LPUSH complete_task', "-ERR wrong number of arguments for 'lpush' command\r\n"],
      ['PUBLISH any {}', ':0\r\n'],
    ],
    subscriptions: [
      ['SUBSCRIBE', "-ERR wrong number of arguments for 'subscribe' command\r\n"],
      [
        'SUBSCRIBE a b',
        '*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n',
      ],
      ['PING', '*2\r\n$4\r\npong\r\n$0\r\n\r\n'],
      ['UNSUBSCRIBE a', '*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n'],
      ['UNSUBSCRIBE', '*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n'],
      ['UNSUBSCRIBE', '*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n'],
      ['PING', '+PONG\r\n'],
    ],
    'what is not spoken': [
      ['GET x', "-ERR unknown command 'GET': here is the queue of one worker, not a Redis\r\n"],
      [
        'X'.repeat(500),
        `-ERR unknown command '${'X'.repeat(64)}': here is the queue of one worker, not a Redis\r\n`,
      ],
      ['AUTH secret', "-ERR unknown command 'AUTH': here is the queue of one worker, not a Redis\r\n"],
    ],
  };
  for (const [what, talk] of Object.entries(talks)) {
    it(`speaks: ${what}`, async () => {
      using client = await redisClient(server.port);
      for (const [command, answer] of talk) {
        client.say(...command.split(' '));
        assert.equal(await client.heard(answer), answer, command);
      }
    });

    it(`answers in order when all is sent at once: ${what}`, async () => {
      using client = await redisClient(server.port);
      for (const [command] of talk) client.say(...command.split(' '));
      const answers = talk.map(([, answer]) => answer).join('');
      assert.equal(await client.heard(answers), answers);
    });
  }

  it('hands what is asked to the queues', async () => {
    using client = await redisClient(server.port);
    client.say('rpop', 'run_vtc');
    client.say('LPUSH', 'fail_task', '{"reason": "é\r\n"}', '2');
    client.say('PUBLISH', 'update status', '{}');
    await client.heard(':0\r\n');
    assert.deepEqual(asked, {
      pops: ['run_vtc'],
      pushes: [['fail_task', '{"reason": "é\r\n"}', '2']],
      publications: [['update status', '{}']],
    });
  });

  it('tells the client on one line when the queues fail, and goes on', async () => {
    using client = await redisClient(server.port);
    broken = true;
    client.say('LPUSH', 'complete_task', '{}');
    await client.heard('-ERR ENOSPC: the volume is full\r\n');
    broken = false;
    client.say('LPUSH', 'complete_task', '{}');
    await client.heard(':1\r\n');
  });

  it('answers what came before a fault, names it, and ends that connection only', async () => {
    using other = await redisClient(server.port);
    using client = await redisClient(server.port);
    client.say('PING');
    client.send('nonsense\r\n');
    await client.heard('+PONG\r\n-ERR Protocol error: expected "*" and a number, not "nonsense\\r\\n"\r\n');
    if (!client.socket.closed) await once(client.socket, 'close');
    other.say('PING');
    await other.heard('+PONG\r\n');
  });

  it('survives clients that go away in the middle of anything', async () => {
    for (const bytes of ['', '*2\r\n$4\r\nRP', '*1\r\n$4\r\nPING\r\n', '*3\r\n']) {
      const client = await redisClient(server.port);
      client.send(bytes);
      client.socket.resetAndDestroy();
    }
    using client = await redisClient(server.port);
    client.say('PING');
    await client.heard('+PONG\r\n');
  });

  it('has a bounded number of connections, and takes others when some have ended', async () => {
    const clients = await Promise.all(Array.from({ length: 32 }, () => redisClient(server.port)));
    for (const client of clients) {
      client.say('PING');
      await client.heard('+PONG\r\n');
    }
    using refused = await redisClient(server.port);
    refused.say('PING');
    await assert.rejects(refused.heard('+PONG\r\n'), /the connection ended/);
    for (const client of clients) client[Symbol.dispose]();
    for (;;) {
      using client = await redisClient(server.port);
      client.say('PING');
      if ((await client.heard('+PONG\r\n').catch(() => undefined)) !== undefined) break;
    }
  });

  it('does not read on from a client that takes no answers', async () => {
    using client = await redisClient(server.port);
    client.socket.pause();
    // Far more than the kernel keeps for both of them.
    for (let sent = 0; sent < 1024; sent++) client.say('PING', 'x'.repeat(65_536));
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(
      client.socket.writableLength > 16 * 1024 * 1024,
      `${client.socket.writableLength} bytes are left`,
    );
  });

  it('ends with all of its connections', async () => {
    using client = await redisClient(server.port);
    client.say('PING');
    await client.heard('+PONG\r\n');
    server[Symbol.dispose]();
    if (!client.socket.closed) await once(client.socket, 'close');
    await assert.rejects(redisClient(server.port));
  });
});
