import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { wav as silence } from '../../../src/agent/testing/fixtures.ts';
import { onStore, own } from './work.ts';

/** A segment as ChildProject has it: milliseconds since the start of the recording. */
export interface Segment {
  readonly onset: number;
  readonly offset: number;
  readonly speaker: 'CHI' | 'OCH' | 'FEM' | 'MAL';
}

export interface Recording {
  /** ChildProject's recording_filename. */
  readonly path: string;
  readonly wav: Buffer;
  /** Of the set `vtc`, one list for each annotated range of the recording; undefined: not annotated. */
  readonly vtc?: readonly Annotated[];
  /** Rows that only .its files have, of the set `its`. */
  readonly its?: readonly string[];
  /** Lies in the folder, but not in the index. */
  readonly unlisted?: true;
}

/** What was annotated in one range of a recording. */
interface Annotated {
  readonly from: number;
  readonly to: number;
  readonly segments: readonly Segment[];
}

const STANDARD = 'recordings/converted/standard';
const ITS_HEADER =
  'segment_onset,segment_offset,speaker_type,raw_filename,words,lena_conv_turn_type,utterances_count,utterances_length,cries,vfxs,child_cry_vfx_len';
const INDEX_HEADER =
  'set,recording_filename,time_seek,range_onset,range_offset,raw_filename,format,filter,annotation_filename,imported_at,package_version,error,merged_from';
const BYTES_PER_MS = 32;
const HEADER_BYTES = 44;

/** Lays out a ChildProject dataset with its index, as after an import of VTC. Every other recording is of a second child. */
export async function corpus(name: string, recordings: readonly Recording[]): Promise<string> {
  const root = onStore(name);
  const listed = recordings.filter(({ unlisted }) => unlisted === undefined);
  const put = (path: string, content: string | Buffer) => write(join(root, path), content);
  for (const recording of recordings) await put(`${STANDARD}/${recording.path}`, recording.wav);
  for (const recording of listed) await annotate(put, recording);
  await put(
    `${STANDARD}/recordings.csv`,
    csv(
      'original_filename,converted_filename,success',
      listed.map(({ path }) => `${path},${path},True`),
    ),
  );
  await put(
    'metadata/children.csv',
    csv('experiment,child_id,child_dob', ['e2e,c0,2020-01-01', 'e2e,c1,2020-01-01']),
  );
  await put(
    'metadata/recordings.csv',
    csv(
      'experiment,child_id,date_iso,start_time,recording_device_type,recording_filename,duration,session_id',
      listed.map(recordingRow),
    ),
  );
  await put('metadata/annotations.csv', csv(INDEX_HEADER, listed.flatMap(indexRows)));
  await own(root);
  return name;
}

type Put = (path: string, content: string) => Promise<void>;

async function annotate(put: Put, { path, vtc = [], its, wav }: Recording): Promise<void> {
  for (const { from, to, segments } of vtc) {
    const rows = segments.map(({ onset, offset, speaker }) => `${onset},${offset},${speaker},${raw(path)}`);
    await put(
      `annotations/vtc/converted/${annotation(path, from, to)}`,
      csv('segment_onset,segment_offset,speaker_type,raw_filename', rows),
    );
  }
  if (its)
    await put(`annotations/its/converted/${annotation(path, 0, milliseconds(wav))}`, csv(ITS_HEADER, its));
}

const recordingRow = ({ path, wav }: Recording, index: number): string =>
  `e2e,c${index % 2},2025-03-03,10:00,unknown,${path},${milliseconds(wav)},s${index % 2}`;

function indexRows({ path, wav, vtc = [], its }: Recording): string[] {
  const row = (set: string, from: number, to: number) =>
    `${set},${path},0,${from},${to},${raw(path)},NA,,${annotation(path, from, to)},2025-04-01 10:00:00,0.4.6,,`;
  return [
    ...vtc.map(({ from, to }) => row('vtc', from, to)),
    ...(its ? [row('its', 0, milliseconds(wav))] : []),
  ];
}

export const milliseconds = (wav: Buffer): number => Math.floor((wav.length - HEADER_BYTES) / BYTES_PER_MS);
const stem = (path: string): string => path.replace(/\.wav$/, '');
const raw = (path: string): string => `${stem(path)}.rttm`;
const annotation = (path: string, from: number, to: number): string => `${stem(path)}_${from}_${to}.csv`;
const csv = (header: string, rows: readonly string[]): string =>
  [header, ...rows].map((row) => `${row}\n`).join('');

async function write(file: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

/** Turns of an RTTM file as segments; who speaks is made up, for a voice activity detector does not tell. */
export async function segmentsOf(rttm: string): Promise<Segment[]> {
  const speakers = ['FEM', 'CHI', 'MAL', 'OCH'] as const;
  const lines = (await readFile(rttm, 'utf8')).split('\n').filter((line) => line !== '');
  return lines.map((line, index) => {
    const [, , , onset, length] = line.split(' ').map(Number);
    if (onset === undefined || length === undefined) throw new Error(`not a line of RTTM: ${line}`);
    const from = Math.round(onset * 1000);
    return { onset: from, offset: from + Math.round(length * 1000), speaker: speakers[index % 4] ?? 'FEM' };
  });
}

/** A recording of a steady tone, which has a pitch. */
export function tone(seconds: number): Buffer {
  const file = silence(seconds);
  for (let at = HEADER_BYTES, n = 0; at < file.length; at += 2, n++)
    file.writeInt16LE(Math.round(8000 * Math.sin(n / 10)), at);
  return file;
}
