import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { readSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { wav } from './testing/fixtures.ts';
import { readWavHeader, WavError } from './wav.ts';
import type { WavHeader } from './wav.ts';

function chunk(id: string, body: Buffer, size = body.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(id, 'latin1');
  head.writeUInt32LE(size, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

function riff(kind: string, ...chunks: Buffer[]): Buffer {
  const body = Buffer.concat(chunks);
  return Buffer.concat([chunk(kind, Buffer.alloc(0), body.length + 4), Buffer.from('WAVE'), body]);
}

const PLAIN = wav(0.5);
const FORMAT = PLAIN.subarray(20, 36);
const AUDIO = PLAIN.subarray(44);

/** WAVE_FORMAT_EXTENSIBLE: the tag moves into the first two bytes of the sub-format. */
function extensible(): Buffer {
  const body = Buffer.alloc(40);
  FORMAT.copy(body);
  body.writeUInt16LE(0xfffe, 0);
  body.writeUInt16LE(22, 16);
  body.writeUInt16LE(1, 24);
  return body;
}

function ds64(dataBytes: number): Buffer {
  const body = Buffer.alloc(28);
  body.writeBigUInt64LE(BigInt(dataBytes), 8);
  return body;
}

function bigEndian(): Buffer {
  const bytes = riff('RIFX', chunk('fmt ', Buffer.from(FORMAT)), chunk('data', AUDIO));
  bytes.writeUInt32BE(16, 16);
  for (const at of [20, 22, 32, 34]) bytes.writeUInt16BE(bytes.readUInt16LE(at), at);
  for (const at of [24, 28, 40]) bytes.writeUInt32BE(bytes.readUInt32LE(at), at);
  return bytes;
}

describe('readWavHeader()', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'wav-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function read(bytes: Buffer): Promise<WavHeader> {
    const file = join(directory, 'x.wav');
    await writeFile(file, bytes);
    const handle = await open(file);
    try {
      return await readWavHeader(
        (buffer, at) => readSync(handle.fd, buffer, 0, buffer.length, at),
        bytes.length,
      );
    } finally {
      await handle.close();
    }
  }

  const good: Record<string, Buffer> = {
    'plain PCM': PLAIN,
    'chunks before the audio, one of odd size and one large': riff(
      'RIFF',
      chunk('LIST', Buffer.alloc(33)),
      chunk('fmt ', FORMAT),
      chunk('bext', Buffer.alloc(9000)),
      chunk('data', AUDIO),
    ),
    'chunks after the audio': riff(
      'RIFF',
      chunk('fmt ', FORMAT),
      chunk('data', AUDIO),
      chunk('id3 ', Buffer.alloc(10)),
    ),
    WAVE_FORMAT_EXTENSIBLE: riff('RIFF', chunk('fmt ', extensible()), chunk('data', AUDIO)),
    'RF64 with its size in ds64': riff(
      'RF64',
      chunk('ds64', ds64(AUDIO.length)),
      chunk('fmt ', FORMAT),
      chunk('data', AUDIO, 0xffffffff),
    ),
    'a recorder that did not know the size': riff(
      'RIFF',
      chunk('fmt ', FORMAT),
      chunk('data', AUDIO, 0xffffffff),
    ),
    'sox writing to a pipe': riff('RIFF', chunk('fmt ', FORMAT), chunk('data', AUDIO, 0x7ffff000)),
    'a recorder that never wrote the size': riff('RIFF', chunk('fmt ', FORMAT), chunk('data', AUDIO, 0)),
    'big-endian RIFX': bigEndian(),
  };
  for (const [sentence, bytes] of Object.entries(good)) {
    it(`reads ${sentence}`, async () => {
      assert.deepEqual(await read(bytes), {
        format: 1,
        sampleRate: 16000,
        channels: 1,
        bitsPerSample: 16,
        dataBytes: 16000,
        seconds: 0.5,
      });
    });
  }

  const bad: Record<string, readonly [bytes: Buffer, message: RegExp]> = {
    'an empty file': [Buffer.alloc(0), /^is empty/],
    text: [Buffer.from('version https://git-lfs.github.com/spec/v1'), /is not a WAV file/],
    'two bytes': [Buffer.from('RI'), /is not a WAV file/],
    'RIFF of another kind': [Buffer.from('RIFF\0\0\0\0AVI LIST'), /is not a WAV file/],
    'a file that ends within its header': [PLAIN.subarray(0, 30), /^has (a broken header|no audio)/],
    'a header without audio': [PLAIN.subarray(0, 44), /no audio behind it/],
    'audio that is shorter than promised': [PLAIN.subarray(0, 1044), /truncated.*16000 bytes.*holds 1000/],
    'RF64 that is shorter than ds64 promises': [
      riff('RF64', chunk('ds64', ds64(99999)), chunk('fmt ', FORMAT), chunk('data', AUDIO, 0xffffffff)),
      /truncated/,
    ],
    'audio without a format': [riff('RIFF', chunk('data', AUDIO)), /no fmt chunk/],
    'a format of zeros': [riff('RIFF', chunk('fmt ', Buffer.alloc(16)), chunk('data', AUDIO)), /is 0$/],
    'a short format': [
      riff('RIFF', chunk('fmt ', Buffer.alloc(8)), chunk('data', AUDIO)),
      /shorter than 16 bytes/,
    ],
  };
  for (const [sentence, [bytes, message]] of Object.entries(bad)) {
    it(`refuses ${sentence}`, () => assert.rejects(read(bytes), { name: 'WavError', message }));
  }

  it('ends in an answer or a WavError, whatever the bytes', async () => {
    const bytes = fc.tuple(fc.constantFrom(44, 20, 12, 40), fc.uint8Array({ maxLength: 64 }));
    await fc.assert(
      fc.asyncProperty(bytes, async ([keep, noise]) => {
        const outcome = await read(Buffer.concat([PLAIN.subarray(0, keep), noise])).catch(
          (error: unknown) => error,
        );
        assert.ok(outcome instanceof WavError || !(outcome instanceof Error), String(outcome));
      }),
    );
  });
});
