import { cp, mkdir, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { cacheDir } from '../cluster/cache.ts';
import { fetchSpeech, SOURCES, SPEECH, type SpeechFiles } from './sources.ts';

/** Where the dataset lies on the store. */
export const DATASET_PATH = 'demo-lab/adult-speech';
const STANDARD = 'recordings/converted/standard';

/** A recording of the dataset; `path` is relative to recordings/converted/standard. */
export type Recording = {
  readonly path: string;
  readonly speaker: string;
  readonly day: string;
  readonly speech: string;
  /** A word that a recogniser must hear in it, where the wording is known and clear. */
  readonly hears?: string;
  /** Cut in the middle of its data. */
  readonly broken?: true;
};

const ALL: readonly Recording[] = [
  { path: 'adult-1/day-1/conversation.wav', speaker: 'adult-1', day: '2025-03-03', speech: 'conversation' },
  {
    path: 'adult-2/day-1/address.wav',
    speaker: 'adult-2',
    day: '2025-03-03',
    speech: 'address',
    hears: 'country',
  },
  {
    path: 'adult-2/day-2/playing cards.wav',
    speaker: 'adult-2',
    day: '2025-03-04',
    speech: 'cards',
    hears: 'spades',
  },
  {
    path: 'adult-3/day-1/battery died.wav',
    speaker: 'adult-3',
    day: '2025-03-03',
    speech: 'address',
    broken: true,
  },
];

/** Bytes that remain of a broken recording: its header and half a second of sound. */
const BROKEN_BYTES = 16_000;
const SECONDS_PER_BYTE = 1 / 32_000;

/** The dataset as files on this machine, ready to be put on a store. */
export type Dataset = {
  readonly directory: string;
  /** Every file, relative to the directory. */
  readonly files: readonly string[];
  readonly recordings: readonly Recording[];
  readonly seconds: number;
  readonly missing: readonly string[];
};

/** Downloads real speech and lays it out as a ChildProject dataset in the user's cache, always anew. */
export async function makeDataset(say: (text: string) => void): Promise<Dataset> {
  const speech = await fetchSpeech(say);
  const directory = join(cacheDir(), 'demo', 'dataset');
  await rm(directory, { recursive: true, force: true });
  const recordings = ALL.filter((recording) => speech.files.has(recording.speech));
  for (const recording of recordings) {
    // oxlint-disable-next-line no-await-in-loop -- four small copies
    await layRecording(directory, recording, speech);
  }
  await write(directory, 'metadata/recordings.csv', recordingsCsv(recordings));
  await write(directory, 'metadata/children.csv', childrenCsv(recordings));
  await write(directory, 'README.md', readme(recordings));
  const sizes = await Promise.all(
    recordings.map(async ({ path }) => (await readFile(join(directory, STANDARD, path))).length),
  );
  const seconds = sizes.reduce((sum, size) => sum + size, 0) * SECONDS_PER_BYTE;
  const files = (await readdir(directory, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)));
  return { directory, files, recordings, seconds, missing: speech.missing };
}

// The downloads are 16 kHz mono already, so the converted copy equals the raw one, as `child-project process` would leave it.
async function layRecording(directory: string, recording: Recording, speech: SpeechFiles): Promise<void> {
  const file = speech.files.get(recording.speech);
  if (file === undefined) throw new Error(`no file for ${recording.path}`);
  for (const folder of ['recordings/raw', STANDARD]) {
    const target = join(directory, folder, recording.path);
    // oxlint-disable-next-line no-await-in-loop -- two copies
    await mkdir(dirname(target), { recursive: true });
    // oxlint-disable-next-line no-await-in-loop -- as above
    await cp(file, target);
    // oxlint-disable-next-line no-await-in-loop -- as above
    if (recording.broken) await truncate(target, BROKEN_BYTES);
  }
}

async function write(directory: string, path: string, text: string): Promise<void> {
  const target = join(directory, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
}

const csv = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => `${row.join(',')}\n`).join('');

function recordingsCsv(recordings: readonly Recording[]): string {
  const header = [
    'experiment',
    'child_id',
    'date_iso',
    'start_time',
    'recording_device_type',
    'recording_filename',
  ];
  const rows = recordings.map(({ speaker, day, path }) => ['demo', speaker, day, 'NA', 'unknown', path]);
  return csv([header, ...rows]);
}

// ChildProject's tables speak of children; here adults stand in, so the dates of birth are placeholders.
function childrenCsv(recordings: readonly Recording[]): string {
  const speakers = [...new Set(recordings.map(({ speaker }) => speaker))];
  return csv([
    ['experiment', 'child_id', 'child_dob'],
    ...speakers.map((speaker) => ['demo', speaker, '1990-01-01']),
  ]);
}

function readme(recordings: readonly Recording[]): string {
  const used = new Set(
    SPEECH.filter(({ id }) => recordings.some(({ speech }) => speech === id)).map(({ source }) => source),
  );
  const sources = SOURCES.filter(({ id }) => used.has(id));
  return `# Adult speech: the dataset of the analysis-operator demo

Short recordings of adults, laid out as a ChildProject dataset. It holds no speech of children and no day-long home
recording, so what the models find here says nothing about how well they do on such recordings.
The names, dates and dates of birth in metadata/ are made up.
"battery died.wav" is cut in the middle on purpose.

| source | speech | licence |
|---|---|---|
${sources.map(({ name, credit, licence }) => `| ${name} | ${credit} | ${licence} |`).join('\n')}

Downloaded from the package registries by \`make demo\`; not redistributed with analysis-operator.
`;
}
