/** Looks at every input once: can it be read, and is its audio what the model needs? */
import { close, constants, fstat, open } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { AgentRequest } from '../api/request.ts';
import { type AudioHeader, AudioError, isAudio, readAudioHeader } from './audio.ts';
import { mapBounded } from './concurrent.ts';
import { errorCode, isMissing } from './failure.ts';
import type { FoundInput } from './walk.ts';

export interface CheckedInput {
  /** Relative to inputs.root. */
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ino: number;
  readonly annexKey?: string;
  /** Length of the audio; undefined for what is not audio. */
  readonly seconds?: number;
  /** Second half of a sentence about the file, with the fix; undefined when it can be analysed. */
  readonly problem?: string;
}

type AudioNeed = AgentRequest['inputs']['audio'];

const CONCURRENCY = 32;
const openFile = promisify(open);
const statFile = promisify(fstat);
const closeFile = promisify(close);

/** Checks inputs below the directory `root`; the order is kept. */
export function preflight(
  root: string,
  inputs: readonly FoundInput[],
  audio: AudioNeed,
): Promise<CheckedInput[]> {
  return mapBounded(inputs, CONCURRENCY, (input) => checkInput(root, input, audio));
}

async function checkInput(root: string, input: FoundInput, audio: AudioNeed): Promise<CheckedInput> {
  const unread = { path: input.path, size: 0, mtimeMs: 0, ino: 0 };
  if (input.problem !== undefined) return { ...unread, problem: input.problem };
  try {
    return await inspect(join(root, input.path), input, audio);
  } catch (error) {
    const problem = unreadable(error);
    if (problem === undefined) throw error;
    return { ...unread, problem };
  }
}

function unreadable(error: unknown): string | undefined {
  const code = errorCode(error);
  if (code === 'EACCES' || code === 'EPERM') {
    return `may not be read by uid ${process.getuid?.() ?? 'of the pod'}: make it readable (chmod g+r or o+r)`;
  }
  return isMissing(error)
    ? 'vanished while the inputs were listed: run the task when nobody moves files'
    : undefined;
}

async function inspect(file: string, input: FoundInput, audio: AudioNeed): Promise<CheckedInput> {
  const fd = await openFile(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await statFile(fd);
    const { size, mtimeMs, ino } = stats;
    const annexKey = input.annexKey === undefined ? {} : { annexKey: input.annexKey };
    const facts = { path: input.path, size, mtimeMs, ino, ...annexKey };
    if (!isAudio(input.path) || !stats.isFile()) return facts;
    return { ...facts, ...judgeAudio(await readAudioHeader(input.path, fd, size).catch(asProblem), audio) };
  } finally {
    await closeFile(fd);
  }
}

function asProblem(error: unknown): string {
  if (error instanceof AudioError) return `${error.message}: replace or remove it`;
  throw error;
}

function judgeAudio(header: AudioHeader | string, audio: AudioNeed): Partial<CheckedInput> {
  if (typeof header === 'string') return { problem: header };
  const wrong: string[] = [];
  const fix: string[] = [];
  if (audio?.sampleRate !== undefined && header.sampleRate !== audio.sampleRate) {
    wrong.push(`has a sample rate of ${header.sampleRate} Hz instead of ${audio.sampleRate} Hz`);
    fix.push(`-r ${audio.sampleRate}`);
  }
  if (audio?.channels !== undefined && header.channels !== audio.channels) {
    wrong.push(`has ${header.channels} channels instead of ${audio.channels}`);
    fix.push(`-c ${audio.channels}`);
  }
  const { seconds } = header;
  if (wrong.length === 0) return { seconds };
  return { seconds, problem: `${wrong.join(' and ')}: convert it (sox IN ${fix.join(' ')} OUT)` };
}
