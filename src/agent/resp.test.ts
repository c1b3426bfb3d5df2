import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { CommandReader, encode, error, MAX_COMMAND_BYTES, OK, ProtocolError } from './resp.ts';
import type { Reply, Version } from './resp.ts';

/** A command as clients send it. */
function sent(...args: readonly string[]): string {
  return `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`;
}

/** Cuts bytes at the given places, whatever order they are in. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].toSorted(
    (a, b) => a - b,
  );
  return sorted.slice(1).map((to, i) => bytes.subarray(sorted[i], to));
}

function readAll(chunks: readonly Buffer[]): (readonly string[])[] {
  const reader = new CommandReader();
  return chunks.flatMap((chunk) => [...reader.read(chunk)]);
}

describe('CommandReader', () => {
  it('reads what a real client sends when it connects', () => {
    const bytes = Buffer.from(
      '*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$8\r\nredis-py\r\n*2\r\n$4\r\nRPOP\r\n$7\r\nrun_vtc\r\n',
    );
    assert.deepEqual(readAll([bytes]), [
      ['CLIENT', 'SETINFO', 'LIB-NAME', 'redis-py'],
      ['RPOP', 'run_vtc'],
    ]);
  });

  it('reads pipelined commands however the stream is cut', () => {
    const argument = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constantFrom('', '\r\n', '*1\r\n$1\r\n', '日本'),
    );
    const commands = fc.array(fc.array(argument, { minLength: 1, maxLength: 8 }), { maxLength: 8 });
    fc.assert(
      fc.property(commands, fc.array(fc.nat(), { maxLength: 20 }), (given, places) => {
        const bytes = Buffer.from(given.map((args) => sent(...args)).join(''));
        assert.deepEqual(
          readAll(cut(bytes, places)),
          given.map((args) => args.map((arg) => arg.toWellFormed())),
        );
      }),
    );
  });

  it('reads a command that comes byte by byte', () => {
    const bytes = Buffer.from(sent('LPUSH', 'complete_task', '{"task_id": "x"}'));
    const places = Array.from(bytes, (_, i) => i);
    assert.deepEqual(readAll(cut(bytes, places)), [['LPUSH', 'complete_task', '{"task_id": "x"}']]);
  });

  it('passes over empty commands, as Redis does', () => {
    assert.deepEqual(readAll([Buffer.from(`*0\r\n${sent('PING')}*0\r\n`)]), [['PING']]);
  });

  it('takes the longest command, and refuses one byte more before it is there', () => {
    const text = 'x'.repeat(MAX_COMMAND_BYTES - 1);
    assert.deepEqual(readAll([Buffer.from(sent('A', text))]), [['A', text]]);
    const reader = new CommandReader();
    const header = Buffer.from(`*2\r\n$1\r\nA\r\n$${MAX_COMMAND_BYTES}\r\n`);
    assert.throws(() => [...reader.read(header)], /longer than 1048576 bytes/);
  });

  const broken: Readonly<Record<string, readonly [stream: string, message: RegExp]>> = {
    'a line of text': ['PING\r\n', /expected "\*" and a number, not "PING/],
    'a request of a browser': ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', /expected/],
    'a negative number': ['*-1\r\n', /expected "\*"/],
    'no number': ['*\r\n', /expected "\*"/],
    'a line that ends otherwise': ['*1\n', /expected "\*"/],
    'an array inside a command': ['*1\r\n*1\r\n', /expected "\$"/],
    'a nil argument': ['*1\r\n$-1\r\n', /expected "\$"/],
    'too many arguments': ['*65\r\n', /at most 64/],
    'a number beyond all bounds': ['*1\r\n$9999999999\r\n', /longer than/],
    'a header without end': ['*0000000000000000000', /expected/],
    'an argument that ends otherwise': ['*1\r\n$1\r\na.\n', /longer than its header/],
    'an argument that is longer than it says': ['*1\r\n$1\r\nabc', /longer than its header/],
  };
  for (const [what, [stream, message]] of Object.entries(broken))
    it(`refuses ${what}, after the commands before it`, () => {
      const reader = new CommandReader();
      const read: (readonly string[])[] = [];
      assert.throws(
        () => {
          for (const command of reader.read(Buffer.from(sent('PING') + stream))) read.push(command);
        },
        (thrown) => thrown instanceof ProtocolError && message.test(thrown.message),
      );
      assert.deepEqual(read, [['PING']]);
    });

  it('never throws anything but a ProtocolError, and holds no more than a command', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat()), (bytes, places) => {
        try {
          readAll(cut(Buffer.from(bytes), places));
        } catch (thrown) {
          assert.ok(thrown instanceof ProtocolError);
        }
      }),
    );
  });
});

describe('encode()', () => {
  const rows: readonly (readonly [Reply, in2: string, in3: string])[] = [
    [OK, '+OK\r\n', '+OK\r\n'],
    [error('no\r\n+OK'), '-ERR no +OK\r\n', '-ERR no +OK\r\n'],
    [error('v9', 'NOPROTO'), '-NOPROTO v9\r\n', '-NOPROTO v9\r\n'],
    [7, ':7\r\n', ':7\r\n'],
    [null, '$-1\r\n', '_\r\n'],
    ['é\r\n', '$4\r\né\r\n\r\n', '$4\r\né\r\n\r\n'],
    [['a', 1, null], '*3\r\n$1\r\na\r\n:1\r\n$-1\r\n', '*3\r\n$1\r\na\r\n:1\r\n_\r\n'],
    [{ is: 'map', items: ['a', 1] }, '*2\r\n$1\r\na\r\n:1\r\n', '%1\r\n$1\r\na\r\n:1\r\n'],
    [{ is: 'push', items: ['a', 1] }, '*2\r\n$1\r\na\r\n:1\r\n', '>2\r\n$1\r\na\r\n:1\r\n'],
  ];
  for (const [reply, in2, in3] of rows)
    it(`writes ${JSON.stringify(reply)} in both versions`, () => {
      const versions: readonly Version[] = [2, 3];
      assert.deepEqual(
        versions.map((version) => encode(reply, version)),
        [in2, in3],
      );
    });
});
