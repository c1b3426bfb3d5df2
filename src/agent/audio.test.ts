import assert from 'node:assert/strict';
import { readSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type AudioHeader, isAudio, readAudioHeader } from './audio.ts';
import type { ReadAt } from './file-access.ts';
import { wav } from './testing/fixtures.ts';

/** A FLAC file without frames: its STREAMINFO block tells everything that a header can tell. */
function flac(sampleRate: number, channels: number, samples: number): Buffer {
  const info = Buffer.alloc(34);
  info.writeUInt16BE(4096, 0);
  info.writeUInt16BE(4096, 2);
  const packed = (BigInt(sampleRate) << 44n) | (BigInt(channels - 1) << 41n) | (15n << 36n) | BigInt(samples);
  info.writeBigUInt64BE(packed, 10);
  return Buffer.concat([Buffer.from('fLaC'), Buffer.from([0x80, 0, 0, 34]), info, Buffer.alloc(512)]);
}

/** MPEG 1 layer III frames of silence: 128 kbit/s, 44.1 kHz, 417 bytes and 1152 samples each. */
function mp3(frames: number, { mono = false } = {}): Buffer {
  const frame = Buffer.alloc(417);
  frame.set([0xff, 0xfb, 0x90, mono ? 0xc4 : 0x04]);
  return Buffer.concat(Array.from({ length: frames }, () => frame));
}

describe('audio headers', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'audio-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function headerOf(name: string, content: Buffer): Promise<AudioHeader> {
    await writeFile(join(folder, name), content);
    const file = await open(join(folder, name));
    try {
      const read: ReadAt = (buffer, at) => readSync(file.fd, buffer, 0, buffer.length, at);
      return await readAudioHeader({ name, fd: file.fd, size: content.length, read });
    } finally {
      await file.close();
    }
  }

  const good: readonly (readonly [string, Buffer, AudioHeader])[] = [
    ['a.wav', wav(2), { sampleRate: 16000, channels: 1, seconds: 2 }],
    ['a.flac', flac(48000, 2, 96000), { sampleRate: 48000, channels: 2, seconds: 2 }],
    ['A.FLAC', flac(16000, 1, 8000), { sampleRate: 16000, channels: 1, seconds: 0.5 }],
  ];
  for (const [name, content, expected] of good) {
    it(`reads ${name}`, async () => {
      const { sampleRate, channels, seconds } = await headerOf(name, content);
      assert.deepEqual({ sampleRate, channels, seconds }, expected);
    });
  }

  it('estimates the length of an MP3 that does not tell it', async () => {
    const { sampleRate, channels, seconds } = await headerOf('a.mp3', mp3(100));
    assert.deepEqual([sampleRate, channels], [44100, 2]);
    assert.ok(Math.abs(seconds - (100 * 1152) / 44100) < 0.1, `${seconds} s`);
    assert.equal((await headerOf('mono.mp3', mp3(100, { mono: true }))).channels, 1);
  });

  const bad: readonly (readonly [string, Buffer, RegExp])[] = [
    ['empty.flac', Buffer.alloc(0), /^is empty \(0 bytes\)$/],
    ['zeros.mp3', Buffer.alloc(5000), /^is not a MP3 file that can be read$/],
    ['text.flac', Buffer.from('this is a note, not a recording'), /^is not a FLAC file that can be read$/],
    ['short.flac', flac(16000, 1, 8000).subarray(0, 20), /^(has a broken FLAC header|is not a FLAC file)/],
    ['short.wav', Buffer.from('RIFF'), /^is not a WAV file/],
  ];
  for (const [name, content, message] of bad) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(headerOf(name, content), { name: 'AudioError', message });
    });
  }

  it('takes nothing else for audio', () => {
    assert.deepEqual(['a.rttm', 'wav', 'a.wav.txt', 'b.csv'].filter(isAudio), []);
  });
});
