/** The two models that run ChildProject: the real package, on real speech, against a run that the operator has no part in. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { CHILDPROJECT_IMAGE, MODEL_IMAGES } from '../../hack/demo/images.ts';
import { fetchSpeech } from '../../hack/demo/sources.ts';
import { wav } from '../../src/agent/testing/fixtures.ts';
import type { TaskStatus } from '../../src/api/task.ts';
import { CHILDPROJECT_RESOURCES, fromCatalogue, runOutside } from './support/catalogue.ts';
import { corpus, milliseconds, type Recording, segmentsOf } from './support/corpus.ts';
import { provideImages, SET_UP_MS, site, TASKS } from './support/site.ts';
import { ended, onStore, read, task, tree } from './support/work.ts';

/** What a number of the cluster's run may differ from one of the direct run, relative to it. */
const TOLERANCE = 1e-6;
/** What fetchSpeech brings. */
const IDS = ['conversation', 'address', 'cards'] as const;
/** The labs' call, as their worker makes it. */
const DIRECT_ACOUSTICS = `
from ChildProject.annotations import AnnotationManager
from ChildProject.pipelines.derivations import AcousticDerivator
from ChildProject.projects import ChildProject
manager = AnnotationManager(ChildProject("/dataset"))
manager._derive_annotations("vtc", "/out", AcousticDerivator(), overwrite_existing=True, output_as_path=True)
`;
/** Prints what the image makes of limits in cgroups of version 2 and 1, and of none. */
const LIMITS = `
import os, pathlib, tempfile
from limits import processors
def of(files):
    root = pathlib.Path(tempfile.mkdtemp())
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return processors(root)
def v1(quota):
    return of({"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"})
everything = len(os.sched_getaffinity(0))
print(of({"cpu.max": "50000 100000"}), v1("100000"), {of({"cpu.max": "max 100000"}), v1("-1"), of({})} == {everything})
`;
const directMetrics = (pipeline: string, options: string): string => `
from ChildProject.pipelines.metrics import MetricsPipeline
MetricsPipeline().run("/dataset", "/out/metrics.csv", "${pipeline}", ${options})
`;

/** Runs a script with ChildProject on a dataset of the store, outside of the cluster; returns the files it made. */
async function direct(dataset: string, script: string): Promise<ReadonlyMap<string, string>> {
  const out = await mkdtemp(join(tmpdir(), 'childproject-'));
  try {
    await chmod(out, 0o777);
    const mounts = { [onStore(dataset)]: '/dataset:ro', [out]: '/out' };
    // With the image's compiled functions, or each of these runs would compile them for half a minute.
    const run =
      'export HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba; cp -r /app/numba-cache /tmp/numba; exec python3 -c "$1"';
    const command = ['sh', '-c', run, 'sh', script];
    await runOutside({ image: CHILDPROJECT_IMAGE.tag, mounts, command });
    const files = (await readdir(out, { recursive: true })).filter((name) => name.endsWith('.csv'));
    return new Map(
      await Promise.all(files.map(async (name) => [name, await readFile(join(out, name), 'utf8')] as const)),
    );
  } finally {
    await rm(out, { recursive: true });
  }
}

const cells = (table: string): string[][] =>
  table
    .trimEnd()
    .split('\n')
    .map((line) => line.split(','));

function assertSame(found: readonly string[][], expected: readonly string[][], what: string): void {
  assert.deepEqual(found[0], expected[0], `${what}: columns`);
  assert.equal(found.length, expected.length, `${what}: rows`);
  for (const [at, row] of expected.entries()) {
    for (const [column, text] of row.entries()) {
      const [a, b] = [Number(found[at]?.[column]), Number(text)];
      const same = Number.isNaN(b)
        ? found[at]?.[column] === text
        : Math.abs(a - b) <= TOLERANCE * Math.abs(b);
      assert.ok(
        same,
        `${what}, row ${at}, ${expected[0]?.[column]}: ${found[at]?.[column]} instead of ${text}`,
      );
    }
  }
}

const ITS = [
  '100,700,FEM,a.its,5,TIFR,0,0,[],[],0',
  '900,1500,CHI,a.its,0,TIMR,1,400,[],"[{\'start\': 1}]",200',
];

describe('ChildProject on real speech', () => {
  let speech: ReadonlyMap<string, Buffer>;
  const path = {
    conversation: 'child 1/day_1/conversation.wav',
    address: 'child 1/address.wav',
    cards: 'cards.wav',
  };
  const of = (id: string): Buffer => speech.get(id) ?? assert.fail(`no recording ${id}`);
  const ids = () => IDS.filter((id) => speech.has(id));

  before('images and speech', async function () {
    this.timeout(SET_UP_MS);
    const silero = MODEL_IMAGES.filter(({ tag }) => tag.includes('silero'));
    await provideImages([CHILDPROJECT_IMAGE, ...silero]);
    const { files } = await fetchSpeech(console.log);
    speech = new Map(
      await Promise.all([...files].map(async ([id, file]) => [id, await readFile(file)] as const)),
    );
  });

  before('speech turns of a real model, imported as the annotations that VTC would make', async () => {
    const [acoustics, metrics, silero] = await Promise.all([
      fromCatalogue('acoustics-0-4-6', { resources: CHILDPROJECT_RESOURCES }),
      fromCatalogue('metrics-0-4-6', { resources: CHILDPROJECT_RESOURCES }),
      fromCatalogue('silero-vad-6-2-3', {}),
    ]);
    await corpus(
      'speech',
      ids().map((id) => ({ path: path[id], wav: of(id) })),
    );
    await task('turns', { model: silero, dataset: { path: 'speech' } });
    await task('early', { model: acoustics, dataset: { path: 'speech' } });
    assert.equal((await ended('turns')).phase, 'Succeeded');
    assert.equal((await ended('early')).phase, 'Failed');
    await corpus('speech', await Promise.all(ids().map(async (id) => annotated(id))));
    await task('pitch', { model: acoustics, dataset: { path: 'speech' } });
    await task('part', { model: acoustics, dataset: { path: 'speech', directory: 'child 1/day_1' } });
    await corpus('damaged', damaged());
    await task('damaged', { model: acoustics, dataset: { path: 'damaged' } });
    for (const [name, parameters] of Object.entries(METRICS))
      await task(name, { model: metrics, dataset: { path: 'speech' }, parameters });
  });

  /** Two ranges of the conversation were annotated, as when a day is done in parts. */
  async function annotated(id: (typeof IDS)[number]): Promise<Recording> {
    const segments = await segmentsOf(
      onStore(`speech/outputs/turns/raw/${path[id].replace('.wav', '.rttm')}`),
    );
    const end = milliseconds(of(id));
    const cut = id === 'conversation' ? 18_000 : end;
    const whole = { from: 0, to: cut, segments: segments.filter(({ onset }) => onset < cut) };
    const rest = { from: cut, to: end, segments: segments.filter(({ onset }) => onset >= cut) };
    return { path: path[id], wav: of(id), vtc: cut === end ? [whole] : [whole, rest], its: ITS };
  }

  function damaged(): Recording[] {
    const vtc = [{ from: 0, to: 2000, segments: [{ onset: 100, offset: 900, speaker: 'CHI' as const }] }];
    const [sound] = speech.values();
    return [
      { path: 'good.wav', wav: sound ?? wav(2), vtc },
      { path: 'phone.wav', wav: wav(2, { sampleRate: 8000 }), vtc },
      { path: 'cut.wav', wav: wav(0.01, { declared: 64_000 }), vtc },
    ];
  }

  it('acoustics-0-4-6 says what must run first, when the VTC annotations are not there', async () => {
    const { reason, message = '' } = await ended('early');
    assert.equal(reason, 'InvalidInput');
    assert.match(message, /annotations\/vtc\/converted.*run the analysis that makes it first/);
  });

  it("acoustics-0-4-6 gives the numbers of the labs' own call, one file for each recording", async () => {
    const status = await ended('pitch');
    assert.equal(status.phase, 'Succeeded', status.message);
    const outputs = ids().map((id) => `raw/${path[id].replace('.wav', '.csv')}`);
    assert.deepEqual(
      await tree('speech/outputs/pitch'),
      ['manifest.json', 'metannots.yml', ...outputs].toSorted(),
    );
    const expected = await direct('speech', DIRECT_ACOUSTICS);
    for (const id of ids()) {
      const stem = path[id].replace('.wav', '');
      const parts = [...expected].filter(([name]) => name.startsWith(`converted/${stem}_`)).toSorted(byOnset);
      assert.equal(parts.length, id === 'conversation' ? 2 : 1);
      const [header, ...rows] = parts.flatMap(([, table], at) => cells(table).slice(at === 0 ? 0 : 1));
      assert.ok(header && rows.length > 0);
      assertSame(cells(await read(`speech/outputs/pitch/raw/${stem}.csv`)), [header, ...rows], stem);
    }
  });

  it('acoustics-0-4-6 works on a directory of the dataset', async () => {
    const status = await ended('part');
    assert.equal(status.phase, 'Succeeded', status.message);
    const files = await tree('speech/outputs/part/raw');
    assert.deepEqual(
      files,
      ids().flatMap((id) => (id === 'conversation' ? ['child 1/day_1/conversation.csv'] : [])),
    );
  });

  it('acoustics-0-4-6 starts as many processes as its CPU limit allows', async () => {
    const { attempt } = await ended('pitch');
    const log = await site().kube.run(['logs', `job/${attempt?.jobName ?? ''}`, '-n', TASKS]);
    assert.match(log, / 1 processes at most/);
  });

  it('acoustics-0-4-6 reads a CPU limit from either version of cgroups', async () => {
    const command = ['env', 'PYTHONPATH=/app', 'python3', '-c', LIMITS];
    const said = await runOutside({ image: CHILDPROJECT_IMAGE.tag, mounts: {}, command });
    assert.equal(said.trim(), '1 1 True');
  });

  it('acoustics-0-4-6 that lost recordings and ends with 0 has failed, and names what is missing', async () => {
    const { phase, reason, message = '' } = await ended('damaged');
    assert.deepEqual([phase, reason], ['Failed', 'MissingOutput'], message);
    assert.match(message, /2 of 3 units/);
    assert.match(message, /raw\/cut\.csv/);
    assert.match(message, /raw\/phone\.csv/);
    assert.deepEqual(await tree('damaged/outputs/damaged'), []);
  });

  const METRICS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'by-child': { pipeline: 'aclew', by: 'child_id' },
    'by-session': { pipeline: 'aclew', by: 'session_id', period: '12h' },
    'by-recording': { pipeline: 'lena', by: 'recording_filename' },
  };
  const CALLS: Readonly<Record<string, string>> = {
    'by-child': directMetrics('aclew', 'vtc="vtc", by="child_id"'),
    'by-session': directMetrics('aclew', 'vtc="vtc", by="session_id", period="12h"'),
    'by-recording': directMetrics('lena', 'set="its", by="recording_filename"'),
  };
  for (const [name, call] of Object.entries(CALLS)) {
    it(`metrics-0-4-6 ${Object.values(METRICS[name] ?? {}).join(' ')} gives ChildProject's own table`, async () => {
      const status: TaskStatus = await ended(name);
      assert.equal(status.phase, 'Succeeded', status.message);
      const expected = (await direct('speech', call)).get('metrics.csv') ?? '';
      assert.ok(cells(expected).length > 1);
      assertSame(cells(await read(`speech/outputs/${name}/metrics.csv`)), cells(expected), name);
      assert.match(await read(`speech/outputs/${name}/metrics_parameters.yml`), /package_version: 0\.4\.6/);
    });
  }
});

const onsetOf = (name: string): number => Number(/_(\d+)_\d+\.csv$/.exec(name)?.[1]);
const byOnset = ([a]: readonly [string, string], [b]: readonly [string, string]): number =>
  onsetOf(a) - onsetOf(b);
