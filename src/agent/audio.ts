/**
 * What the header of an audio file says. WAV has a reader of its own (it knows truncated and streamed files, and costs
 * two or three small reads); the compressed formats are read by music-metadata, which is loaded only when there is one.
 */
import type { ReadAt } from './file-access.ts';
import { readWavHeader, WavError } from './wav.ts';

export interface AudioHeader {
  /** Hz. */
  readonly sampleRate: number;
  readonly channels: number;
  /** Length; for an MP3 without a length in its header an estimate from its bit rate. */
  readonly seconds: number;
}

/** A file that is not usable audio; the message is the second half of a sentence about it. */
export class AudioError extends Error {
  override readonly name = 'AudioError';
}

const WAV = /\.wav$/i;
const COMPRESSED = /\.(flac|mp3|ogg|opus|m4a)$/i;

/** Whether a file of that name is taken for audio. */
export function isAudio(name: string): boolean {
  return WAV.test(name) || COMPRESSED.test(name);
}

/** A regular file that is open. */
export interface OpenAudio {
  readonly name: string;
  readonly fd: number;
  readonly size: number;
  readonly read: ReadAt;
}

/** Reads the header. Throws AudioError for what is no usable audio; errors of the file system pass through. */
export async function readAudioHeader({ name, fd, size, read }: OpenAudio): Promise<AudioHeader> {
  if (size === 0) throw new AudioError('is empty (0 bytes)');
  if (!WAV.test(name)) return readCompressed(name, fd);
  try {
    return await readWavHeader(read, size);
  } catch (error) {
    if (error instanceof WavError) throw new AudioError(error.message, { cause: error });
    throw error;
  }
}

async function readCompressed(name: string, fd: number): Promise<AudioHeader> {
  const kind = name.slice(name.lastIndexOf('.') + 1).toUpperCase();
  const { parseFile } = await import('music-metadata');
  // The open descriptor, not the name: what was checked is what is read.
  const format = await parseFile(`/proc/self/fd/${fd}`, { skipCovers: true }).then(
    (metadata) => metadata.format,
    (error: unknown) => {
      if (isFromParser(error))
        throw new AudioError(`is not a ${kind} file that can be read`, { cause: error });
      throw error;
    },
  );
  const { sampleRate, numberOfChannels: channels, duration: seconds } = format;
  if (!sampleRate || !channels || !seconds)
    throw new AudioError(`has a broken ${kind} header: no sample rate, channels or length in it`);
  return { sampleRate, channels, seconds };
}

/** Errors of the file system carry a code; everything else says that the content makes no sense. */
function isFromParser(error: unknown): boolean {
  return !(error instanceof Error && 'code' in error);
}
