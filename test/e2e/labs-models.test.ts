/**
 * The labs' models whose weights cannot be had here, by stand-ins that have their command lines, files, side effects and
 * misbehaviour: what is tested is the entry of the catalogue, not the model.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { installed, installStandIns } from './support/catalogue.ts';
import { corpus, type Recording } from './support/corpus.ts';
import { SET_UP_MS } from './support/site.ts';
import { ended, read, task, tree } from './support/work.ts';

/** A recording's name -> what its output below outputs/<task> is called and must hold. */
type Expected = Readonly<Record<string, RegExp>>;

interface Case {
  readonly model: string;
  /** Starts the names of its tasks and datasets. */
  readonly name: string;
  /** Recordings that the model can do. */
  readonly good: readonly string[];
  readonly outputs: Expected;
  /** Recordings on which it ends with 0 and lacks something; the stand-in knows them by their first word. */
  readonly bad: readonly string[];
  readonly missing: readonly RegExp[];
  /** In the folder of recordings, but not in the dataset's index. */
  readonly unlisted?: readonly string[];
}

const CLASSES = /KCHI/;
const NOTHING = /^$/;

const CASES: readonly Case[] = [
  {
    model: 'vtc-1-0',
    name: 'vtc',
    good: ['child 1/day 1/a b.wav', 'c.wav', 'silent_d.wav'],
    outputs: {
      'raw/c.rttm': /^SPEAKER c 1 .*KCHI/,
      'raw/child 1/day 1/a b.rttm': /^SPEAKER a_b 1 .*KCHI/,
      'raw/silent_d.rttm': NOTHING,
    },
    bad: ['broken_a.wav', 'nosox_b.wav', 'torn_c.wav'],
    missing: [/raw\/broken_a\.rttm/, /raw\/nosox_b\.rttm/, /raw\/torn_c\.rttm.*last line/],
  },
  {
    model: 'vtc-2-0',
    name: 'vtc-2',
    good: ['child 1/a b.wav', 'child 1/silent_c.wav', 'd.wav', 'next version/v22_e.wav'],
    outputs: {
      'raw/child 1/a b.rttm': CLASSES,
      'raw/child 1/silent_c.rttm': NOTHING,
      'raw/d.rttm': CLASSES,
      'raw/next version/v22_e.rttm': CLASSES,
    },
    bad: ['lost_a.wav', 'b.wav'],
    missing: [/raw\/lost_a\.rttm/],
  },
  {
    model: 'alice-1-0',
    name: 'alice',
    good: ['child 1/a b.wav', 'c.wav', 'silent_d.wav'],
    outputs: {
      'output/child 1/extra/a b_sum.txt': /^a_b\t9\t4\t3$/m,
      'output/child 1/raw/a b.txt': /^a_b_\d+_\d+\.wav\t9\t4\t3\n$/,
      'output/extra/c_sum.txt': /^c\t9\t4\t3$/m,
      'output/extra/silent_d_sum.txt': /^silent_d\t0\t0\t0$/m,
      'output/raw/c.txt': /^c_/,
      'output/raw/silent_d.txt': NOTHING,
    },
    bad: ['sylnet_a.wav'],
    missing: [/output\/raw\/sylnet_a\.txt/],
  },
  {
    model: 'w2v2-1-0',
    name: 'w2v2',
    good: ['child 1/day 1/a.wav', 'b.wav', 'silent_c.wav'],
    outputs: {
      'output/raw/b.csv': /^recording_filename,.*\n(b\.wav,\d+,\d+,C\n){3}$/,
      'output/raw/child 1/day 1/a.csv': /^recording_filename,.*\n(child 1\/day 1\/a\.wav,\d+,\d+,C\n){3}$/,
      'output/raw/silent_c.csv': /^recording_filename,segment_onset,segment_offset,vcm_type\n$/,
    },
    bad: ['a.wav'],
    unlisted: ['unlisted.wav'],
    missing: [/output\/raw\/unlisted\.csv/],
  },
];

/** A second and a half in which the child speaks for 1.3 s, which is three chunks of W2V2, unless it is silent. */
function recording(path: string): Recording {
  const speaker = path.startsWith('silent') ? ('FEM' as const) : ('CHI' as const);
  return {
    path,
    wav: wav(1.5),
    vtc: [{ from: 0, to: 1500, segments: [{ onset: 100, offset: 1400, speaker }] }],
  };
}

describe('a model of the labs, by its entry in the catalogue', () => {
  before('stand-ins', async function () {
    this.timeout(SET_UP_MS);
    await installStandIns();
  });

  before('tasks', async () => {
    for (const { model, name, good, bad, unlisted = [] } of CASES) {
      await corpus(`${name}-good`, good.map(recording));
      await task(`${name}-good`, { model: installed(model), dataset: { path: `${name}-good` } });
      const strays = unlisted.map((path) => ({ path, wav: wav(1.5), unlisted: true as const }));
      await corpus(`${name}-bad`, [...bad.map(recording), ...strays]);
      await task(`${name}-bad`, { model: installed(model), dataset: { path: `${name}-bad` } });
    }
    await corpus('w2v2-short', [recording('short_a.wav')]);
    await task('w2v2-short', { model: installed('w2v2-1-0'), dataset: { path: 'w2v2-short' } });
    await corpus('vtc-2-clash', [recording('a b.wav'), recording('a_b.wav')]);
    await task('vtc-2-clash', { model: installed('vtc-2-0'), dataset: { path: 'vtc-2-clash' } });
  });

  for (const { model, name, outputs, missing } of CASES) {
    it(`${model} publishes its promised outputs and no stray file`, async () => {
      const { phase, message } = await ended(`${name}-good`);
      assert.equal(phase, 'Succeeded', message);
      const root = `${name}-good/outputs/${name}-good`;
      const promised = Object.keys(outputs);
      assert.deepEqual(await tree(root), ['manifest.json', 'metannots.yml', ...promised].toSorted());
      for (const [path, content] of Object.entries(outputs))
        assert.match(await read(`${root}/${path}`), content, path);
    });

    it(`${model} that ends with 0 and lacks outputs has failed, and they are named`, async () => {
      const { phase, reason, message = '' } = await ended(`${name}-bad`);
      assert.deepEqual([phase, reason], ['Failed', 'MissingOutput'], message);
      for (const path of missing) assert.match(message, path);
      assert.deepEqual(await tree(`${name}-bad/outputs/${name}-bad`), []);
    });
  }

  it('w2v2-1-0 that lost chunks has failed, with the count', async () => {
    const { phase, reason, message = '' } = await ended('w2v2-short');
    assert.deepEqual([phase, reason], ['Failed', 'ModelError'], message);
    assert.match(message, /2 predictions for 3 chunks/);
  });

  it('vtc-2-0 refuses two recordings that it could not tell apart', async () => {
    const { phase, reason, message = '' } = await ended('vtc-2-clash');
    assert.deepEqual([phase, reason], ['Failed', 'InvalidInput'], message);
  });
});
