/**
 * Reader of WAV headers: RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes in a `ds64` chunk) and
 * WAVE_FORMAT_EXTENSIBLE. Chunks are walked with small positioned reads: hours of audio cost two or three of them.
 */
import type { ReadAt } from './file-access.ts';

export interface WavHeader {
  readonly sampleRate: number;
  readonly channels: number;
  readonly bitsPerSample: number;
  /** Format tag; for WAVE_FORMAT_EXTENSIBLE the tag inside. 1 is PCM, 3 is float. */
  readonly format: number;
  /** Bytes of audio that the file really holds. */
  readonly dataBytes: number;
  readonly seconds: number;
}

/** A file that is not usable audio; the message is the second half of a sentence about it. */
export class WavError extends Error {
  override readonly name = 'WavError';
}

const EXTENSIBLE = 0xfffe;
/** What programs write that cannot seek back to the header: ffmpeg (and RF64) the first, sox the second. */
const UNKNOWN_SIZES: readonly number[] = [0xffffffff, 0x7ffff000];
const MAX_CHUNKS = 256;
const READ_AHEAD = 512;

interface Source {
  readonly size: number;
  /** Bytes at a position; shorter at the end of the file. */
  readonly read: (position: number, length: number) => Promise<Buffer>;
}

interface Layout {
  readonly bigEndian: boolean;
  /** Size of the data chunk from ds64, for RF64 and BW64. */
  data64?: number;
  format?: Omit<WavHeader, 'dataBytes' | 'seconds'> & { readonly bytesPerSecond: number };
}

/** Reads the header of a file of `size` bytes. Throws WavError; errors of the file system pass through. */
export async function readWavHeader(readAt: ReadAt, size: number): Promise<WavHeader> {
  if (size === 0) throw new WavError('is empty (0 bytes)');
  const source = bufferedSource(readAt, size);
  const magic = await source.read(0, 12);
  const kind = magic.toString('latin1', 0, 4);
  if (!['RIFF', 'RIFX', 'RF64', 'BW64'].includes(kind) || magic.toString('latin1', 8, 12) !== 'WAVE') {
    throw new WavError('is not a WAV file (it does not begin with RIFF...WAVE)');
  }
  return walkChunks(source, { bigEndian: kind === 'RIFX' });
}

function bufferedSource(readAt: ReadAt, size: number): Source {
  let start = 0;
  let window = Buffer.alloc(0);
  return {
    size,
    read: async (position, length) => {
      const offset = position - start;
      if (offset < 0 || offset + length > window.length) {
        const buffer = Buffer.allocUnsafe(Math.max(length, READ_AHEAD));
        window = buffer.subarray(0, await readAt(buffer, position));
        start = position;
      }
      return window.subarray(position - start, position - start + length);
    },
  };
}

async function walkChunks(source: Source, layout: Layout): Promise<WavHeader> {
  let position = 12;
  for (let count = 0; count < MAX_CHUNKS && position + 8 <= source.size; count++) {
    // oxlint-disable-next-line no-await-in-loop -- the next chunk's place is in this one's header
    const head = await source.read(position, 8);
    if (head.length < 8) break;
    const id = head.toString('latin1', 0, 4);
    const size = layout.bigEndian ? head.readUInt32BE(4) : head.readUInt32LE(4);
    if (id === 'data') return finish(source, layout, { start: position + 8, declared: size });
    // oxlint-disable-next-line no-await-in-loop -- as above
    await readChunk(source, layout, { id, size, start: position + 8 });
    position += 8 + size + (size % 2);
  }
  throw new WavError('has no audio: the file ends before its data chunk (a broken or unfinished recording)');
}

async function readChunk(
  source: Source,
  layout: Layout,
  chunk: { readonly id: string; readonly size: number; readonly start: number },
): Promise<void> {
  if (chunk.id === 'ds64' && chunk.size >= 16) {
    const body = await source.read(chunk.start, 16);
    if (body.length === 16) layout.data64 = Number(body.readBigUInt64LE(8));
  }
  if (chunk.id === 'fmt ')
    layout.format = parseFormat(await source.read(chunk.start, Math.min(chunk.size, 40)), layout);
}

function parseFormat(body: Buffer, layout: Layout): NonNullable<Layout['format']> {
  if (body.length < 16) throw new WavError('has a broken header: its fmt chunk is shorter than 16 bytes');
  const u16 = (at: number): number => (layout.bigEndian ? body.readUInt16BE(at) : body.readUInt16LE(at));
  const u32 = (at: number): number => (layout.bigEndian ? body.readUInt32BE(at) : body.readUInt32LE(at));
  const tag = u16(0);
  const format = {
    format: tag === EXTENSIBLE && body.length >= 26 ? u16(24) : tag,
    channels: u16(2),
    sampleRate: u32(4),
    bytesPerSecond: u32(8),
    bitsPerSample: u16(14),
  };
  if (format.channels === 0 || format.sampleRate === 0 || format.bytesPerSecond === 0) {
    throw new WavError('has a broken header: its channels, sample rate or byte rate is 0');
  }
  return format;
}

function finish(
  source: Source,
  layout: Layout,
  data: { readonly start: number; readonly declared: number },
): WavHeader {
  if (layout.format === undefined) throw new WavError('has a broken header: no fmt chunk before the audio');
  const { bytesPerSecond, ...format } = layout.format;
  const present = source.size - data.start;
  const streamed = UNKNOWN_SIZES.includes(data.declared) || (data.declared === 0 && present > 0);
  const declared = streamed ? (layout.data64 ?? present) : data.declared;
  if (present <= 0 || declared === 0) throw new WavError('has a header but no audio behind it');
  if (declared > present) {
    throw new WavError(
      `is truncated: its header promises ${declared} bytes of audio, the file holds ${present}`,
    );
  }
  return { ...format, dataBytes: declared, seconds: declared / bytesPerSecond };
}
