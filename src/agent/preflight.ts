/** Looks at every input once: can it be read, and is its audio what the model needs? */
import { join } from 'node:path';
import type { AgentRequest } from '../api/request.ts';
import { annotatedSeconds } from './annotations.ts';
import { type AudioHeader, AudioError, isAudio, readAudioHeader } from './audio.ts';
import { errorCode, isMissing } from './failure.ts';
import { mapFiles, statOpen } from './file-access.ts';
import type { FileAccess, ReadAt } from './file-access.ts';
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
  /** Sum of the annotated segments; undefined for audio, and unless the model's effort goes by it. */
  readonly annotatedSeconds?: number;
  /** Second half of a sentence about the file, with the fix; undefined when it can be analysed. */
  readonly problem?: string;
}

/** What preflight is asked to find out. */
export interface Check {
  /** inputs.root, absolute. */
  readonly root: string;
  readonly audio: AgentRequest['inputs']['audio'];
  readonly effort: AgentRequest['inputs']['effort'];
}

const BATCH = 512;

/** Checks inputs as they are found; the order is kept. */
export async function preflight(
  check: Check,
  found: AsyncIterable<readonly FoundInput[]>,
): Promise<CheckedInput[]> {
  const checked: CheckedInput[] = [];
  for await (const inputs of found) {
    for (let first = 0; first < inputs.length; first += BATCH) {
      const batch = inputs.slice(first, first + BATCH);
      checked.push(...(await mapFiles(batch, (input, access) => checkInput(check, input, access))));
    }
  }
  return checked;
}

async function checkInput(check: Check, input: FoundInput, access: FileAccess): Promise<CheckedInput> {
  const unread = { path: input.path, size: 0, mtimeMs: 0, ino: 0 };
  if (input.problem !== undefined) return { ...unread, problem: input.problem };
  try {
    return await inspect(check, input, access);
  } catch (error) {
    const problem = unreadable(error);
    if (problem === undefined) throw error;
    return { ...unread, problem };
  }
}

function unreadable(error: unknown): string | undefined {
  const code = errorCode(error);
  if (code === 'EACCES' || code === 'EPERM') {
    return `may not be read by uid ${process.geteuid?.() ?? 'of the pod'}: make it readable (chmod g+r or o+r)`;
  }
  return isMissing(error)
    ? 'vanished while the inputs were listed: run the task when nobody moves files'
    : undefined;
}

async function inspect(check: Check, input: FoundInput, access: FileAccess): Promise<CheckedInput> {
  const file = join(check.root, input.path);
  const fd = await access.open(file);
  try {
    const stats = statOpen(fd);
    const { size, mtimeMs, ino } = stats;
    const annexKey = input.annexKey === undefined ? {} : { annexKey: input.annexKey };
    const facts = { path: input.path, size, mtimeMs, ino, ...annexKey };
    if (!stats.isFile()) return { ...facts, problem: 'is not a regular file: remove it' };
    if (!isAudio(input.path)) return { ...facts, ...(await annotated(check, file)) };
    const read: ReadAt = (buffer, position) => access.read(fd, buffer, position);
    const header = await readAudioHeader({ name: input.path, fd, size, read }).catch(asProblem);
    return { ...facts, ...judgeAudio(header, check.audio) };
  } finally {
    await access.close(fd);
  }
}

/** Annotations are read to their end, so only where the model's effort asks for it. */
async function annotated(check: Check, file: string): Promise<Pick<CheckedInput, 'annotatedSeconds'>> {
  if (check.effort !== 'AnnotatedSeconds') return {};
  return { annotatedSeconds: await annotatedSeconds(file) };
}

function asProblem(error: unknown): string {
  if (error instanceof AudioError) return `${error.message}: replace or remove it`;
  throw error;
}

function judgeAudio(header: AudioHeader | string, audio: Check['audio']): Partial<CheckedInput> {
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
