import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDir } from '../cluster/cache.ts';
import { run, succeeds } from '../cluster/exec.ts';

/** A package of a public registry that carries recordings of human speech. */
export type Source = {
  readonly id: 'pypi' | 'npm' | 'debian';
  readonly name: string;
  readonly licence: string;
  readonly credit: string;
  /** The command that must exist; where it does not, the recordings of the source are left out. */
  readonly client: string;
};

/** A recording inside a package; the hash proves that it is the one these expectations were written for. */
export type Speech = {
  readonly id: string;
  readonly source: Source['id'];
  readonly member: string;
  readonly sha256: string;
};

export const SOURCES: readonly Source[] = [
  {
    id: 'pypi',
    name: 'pyannote.audio 4.0.7 (PyPI)',
    licence: 'MIT (of the package)',
    credit: 'telephone-like conversation of two adults',
    client: 'pip',
  },
  {
    id: 'npm',
    name: 'nodejs-whisper 0.3.1 (npm)',
    licence: 'MIT (of the package); the speech is a work of the US government',
    credit: 'inaugural address of John F. Kennedy, 1961',
    client: 'npm',
  },
  {
    id: 'debian',
    name: 'pocketsphinx-testdata 0.8+5prealpha+1-15 (Debian)',
    licence: 'BSD-2-Clause',
    credit: 'playing cards read out',
    client: 'apt-get',
  },
];

const POCKETSPHINX = 'usr/share/pocketsphinx/test/data';

export const SPEECH: readonly Speech[] = [
  {
    id: 'conversation',
    source: 'pypi',
    member: 'pyannote/audio/sample/sample.wav',
    sha256: 'c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e',
  },
  {
    id: 'address',
    source: 'npm',
    member: 'package/cpp/whisper.cpp/bindings/go/samples/jfk.wav',
    sha256: '59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e',
  },
  {
    id: 'cards',
    source: 'debian',
    member: `${POCKETSPHINX}/cards/005.wav`,
    sha256: '090f18f5f76cf8b2b43cd9e6b07823f4685a4742d9a36cd98b174a6586c18cf9',
  },
];

const DOWNLOAD_TIMEOUT_MS = 300_000;

/** Recording id -> file in the user's cache, and why any are missing. */
export type SpeechFiles = {
  readonly files: ReadonlyMap<string, string>;
  readonly missing: readonly string[];
};

/** Downloads what the cache does not hold. A source that cannot be reached is reported; all of them missing is an error. */
export async function fetchSpeech(say: (text: string) => void): Promise<SpeechFiles> {
  const missing: string[] = [];
  for (const source of SOURCES) {
    // oxlint-disable-next-line no-await-in-loop -- three small downloads, one line of progress each
    const problem = await fetchSource(source, say).catch((error: unknown) => firstLine(error));
    if (problem !== undefined) missing.push(`${source.name}: ${problem}`);
  }
  const files = new Map(
    SPEECH.map(({ id }) => [id, cached(id)] as const).filter(([, file]) => existsSync(file)),
  );
  if (files.size === 0) throw new Error(`no recording could be downloaded:\n  ${missing.join('\n  ')}`);
  return { files, missing };
}

const cached = (id: string): string => join(cacheDir(), 'speech', `${id}.wav`);

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n').slice(0, 2).join(' ');

/** Returns why the source is left out, or undefined when all of its recordings are in the cache. */
async function fetchSource(source: Source, say: (text: string) => void): Promise<string | undefined> {
  const wanted = SPEECH.filter((speech) => speech.source === source.id && !existsSync(cached(speech.id)));
  if (wanted.length === 0) return undefined;
  if (!(await succeeds(source.client, ['--version']))) return `this machine has no ${source.client}`;
  say(`downloading ${source.name}`);
  const folder = await mkdtemp(join(tmpdir(), 'analysis-speech-'));
  try {
    const open = await OPENERS[source.id](folder);
    for (const speech of wanted) {
      // oxlint-disable-next-line no-await-in-loop -- two files at most
      await keep(speech, await open(speech.member));
    }
    return undefined;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function keep(speech: Speech, content: Buffer): Promise<void> {
  const found = createHash('sha256').update(content).digest('hex');
  if (found !== speech.sha256) {
    throw new Error(
      `${speech.member} has sha256 ${found} instead of ${speech.sha256}: the package has changed`,
    );
  }
  const target = cached(speech.id);
  await mkdir(join(cacheDir(), 'speech'), { recursive: true });
  await writeFile(`${target}.part`, content);
  await rename(`${target}.part`, target);
}

type Opener = (folder: string) => Promise<(member: string) => Promise<Buffer>>;

const OPENERS: Readonly<Record<Source['id'], Opener>> = {
  pypi: async (folder) => {
    await download(
      'pip',
      ['download', '--quiet', '--no-deps', '--dest', folder, 'pyannote.audio==4.0.7'],
      folder,
    );
    await run('python3', ['-m', 'zipfile', '-e', await onlyFile(folder, '.whl'), '.'], { cwd: folder });
    return (member) => readFile(join(folder, member));
  },
  npm: async (folder) => {
    await download('npm', ['pack', '--silent', '--ignore-scripts', 'nodejs-whisper@0.3.1'], folder);
    await run('tar', ['-xzf', await onlyFile(folder, '.tgz')], { cwd: folder });
    return (member) => readFile(join(folder, member));
  },
  debian: async (folder) => {
    await download('apt-get', ['download', '-q', 'pocketsphinx-testdata'], folder);
    await run('dpkg-deb', ['-x', await onlyFile(folder, '.deb'), folder], { cwd: folder });
    return (member) => readFile(join(folder, member));
  },
};

async function download(command: string, args: readonly string[], cwd: string): Promise<void> {
  await run(command, args, { cwd, timeoutMs: DOWNLOAD_TIMEOUT_MS });
}

async function onlyFile(folder: string, suffix: string): Promise<string> {
  const found = (await readdir(folder)).find((name) => name.endsWith(suffix));
  if (found === undefined) throw new Error(`the download left no ${suffix} file`);
  return found;
}
