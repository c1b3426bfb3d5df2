import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { aRequest } from './testing/fixtures.ts';
import type { RequestChanges } from './testing/fixtures.ts';
import { commandOf, outputPath, planHasher, planUnits, Promises } from './plan.ts';
import type { Unit } from './plan.ts';
import type { CheckedInput } from './preflight.ts';

const MOUNTS = { dataMount: '/data', outMount: '/out' };
const ROOT = 'recordings/converted/standard';

function input(path: string, changes: Partial<CheckedInput> = {}): CheckedInput {
  return { path, size: 10, mtimeMs: 1, ino: 1, ...changes };
}

function planOf(paths: readonly (string | CheckedInput)[], changes: RequestChanges = {}): Unit[] {
  const inputs = paths.map((path) => (typeof path === 'string' ? input(path) : path));
  const units = [...planUnits(aRequest(changes), inputs, MOUNTS)];
  const all = new Promises(aRequest(changes));
  for (const unit of units) all.add(unit);
  all.check();
  return units;
}

function argvs(paths: readonly string[], changes: RequestChanges): string[][] {
  return planOf(paths, changes).map((unit) => commandOf(aRequest(changes), unit, MOUNTS));
}

function promises(plan: readonly Unit[]): string[][] {
  return plan.map((unit) => unit.outputs.map(({ path }) => path));
}

function keyOf(changes: RequestChanges, file: Partial<CheckedInput> = {}): string | undefined {
  return planOf([input('a.wav', file)], changes)[0]?.key;
}

function hashOf(paths: readonly string[]): string {
  const hasher = planHasher(aRequest());
  for (const unit of planOf(paths)) hasher.add(unit);
  return hasher.digest();
}

describe('planUnits()', () => {
  it('makes one unit per file', () => {
    const changes = { command: ['run', '{input}', '{output}', '{outputDir}', '{inputDir}'] };
    assert.deepEqual(argvs(['a.wav', 'c/b.wav'], changes), [
      ['run', `/data/${ROOT}/a.wav`, '/out/raw/a.rttm', '/out/raw', `/data/${ROOT}`],
      ['run', `/data/${ROOT}/c/b.wav`, '/out/raw/c/b.rttm', '/out/raw/c', `/data/${ROOT}/c`],
    ]);
    assert.deepEqual(promises(planOf(['a.wav', 'c/b.wav'], changes)), [['raw/a.rttm'], ['raw/c/b.rttm']]);
  });

  it('makes one unit per directory, with the outputs of each of its files', () => {
    const paths = ['a.wav', 'c/b.wav', 'c/d.wav'];
    const changes: RequestChanges = {
      per: 'Directory',
      command: ['run', '{inputDir}', '{outputDir}', '--name={reldir}'],
      outputs: [{ path: 'raw/{rel}.rttm' }, { path: 'raw/{reldir}/all.csv' }],
    };
    const plan = planOf(paths, changes);
    assert.deepEqual(argvs(paths, changes), [
      ['run', `/data/${ROOT}`, '/out/raw', '--name='],
      ['run', `/data/${ROOT}/c`, '/out/raw/c', '--name=c'],
    ]);
    assert.deepEqual(promises(plan), [
      ['raw/a.rttm', 'raw/all.csv'],
      ['raw/c/b.rttm', 'raw/c/all.csv', 'raw/c/d.rttm'],
    ]);
    assert.deepEqual(
      plan.map((unit) => unit.name),
      ['.', 'c'],
    );
  });

  it('counts the recordings of a dataset, which may share an output', () => {
    const changes: RequestChanges = {
      per: 'Dataset',
      outputs: [{ path: '{rel}.rttm' }, { path: 'all.csv' }],
    };
    assert.deepEqual(promises(planOf(['a.wav', 'b.wav'], changes)), [
      ['a.rttm', 'all.csv'],
      ['b.rttm', 'all.csv'],
    ]);
    assert.deepEqual(argvs(['a.wav', 'b.wav'], changes), [[], []]);
  });

  it('fills parameters', () => {
    const changes = { command: ['run', '--t={param.t}', '{rec}'], parameters: { t: '0.5' } };
    assert.deepEqual(argvs(['a.wav'], changes), [['run', '--t=0.5', 'a']]);
  });

  const refused: Record<
    string,
    readonly [input: string | CheckedInput, changes: RequestChanges, reason: RegExp]
  > = {
    'a file whose name would be an option': [
      '-rf.wav',
      { command: ['run', '{stem}'] },
      /becomes "-rf".*rename the file/,
    ],
    'a file whose output would leave the outputs': [
      '...wav',
      {},
      /becomes "raw\/\.\.\/x"|contains a "\.\." segment/,
    ],
    'a file whose output name is too long': [`${'x'.repeat(252)}.wav`, {}, /segment of 257 bytes/],
    'a file that preflight refused': [input('a.wav', { problem: 'is empty' }), {}, /^is empty$/],
  };
  for (const [sentence, [file, changes, reason]] of Object.entries(refused)) {
    it(`refuses ${sentence}, and only it`, () => {
      const outputs = sentence.includes('leave') ? [{ path: 'raw/{stem}/x' }] : [{ path: 'raw/{stem}.rttm' }];
      const [good, bad] = planOf(['good.wav', file], { outputs, ...changes });
      assert.equal(good?.state, 'run');
      assert.equal(bad?.state, 'refused');
      assert.match(bad.reason ?? '', reason);
    });
  }

  it('names the bad file of a refused directory', () => {
    const plan = planOf([input('c/a.wav', { problem: 'is empty' }), 'c/b.wav'], {
      per: 'Directory',
      command: ['run', '{inputDir}'],
    });
    assert.equal(plan[0]?.reason, '"c/a.wav" is empty');
  });

  const conflicts: Record<string, readonly [paths: string[], changes: RequestChanges, message: RegExp]> = {
    'two files that promise one output': [
      ['c/a.wav', 'd/a.wav'],
      { outputs: [{ path: 'raw/{stem}.rttm' }] },
      /"c\/a.wav" and "d\/a.wav" would both write "raw\/a.rttm".*\{reldir\} or \{rel\}/,
    ],
    'two files that differ by extension only': [['a.wav', 'a.WAV'], {}, /would both write "raw\/a.rttm"/],
    'an output that is also a directory': [
      ['a.wav', 'a/b.wav'],
      { outputs: [{ path: '{rel}' }] },
      /"a" would also have to be a directory for "a\/b"/,
    ],
    "the operator's own file": [
      ['manifest.wav'],
      { outputs: [{ path: '{stem}.json' }] },
      /written by the operator itself/,
    ],
  };
  for (const [sentence, [paths, changes, message]] of Object.entries(conflicts)) {
    it(`refuses ${sentence}`, () => {
      assert.throws(() => planOf(paths, changes), {
        name: 'AgentFailure',
        category: 'InvalidInput',
        message,
      });
    });
  }

  it('gives a unit the same key as long as nothing that its outputs depend on has changed', () => {
    const usual = keyOf({});
    assert.equal(keyOf({ maxFailedUnits: 3, outputName: 'other', uid: 'task-2' }), usual);
    assert.equal(keyOf({}, { ino: 99, seconds: 3 }), usual);
    assert.equal(keyOf({ parameters: { batch: '8' }, tuning: ['batch'] }), usual);
    const others = [
      keyOf({ parameters: { t: '1' } }),
      keyOf({ command: ['run', '{input}'] }),
      keyOf({ root: 'recordings/raw' }),
      keyOf({}, { size: 11 }),
      keyOf({}, { mtimeMs: 2 }),
    ];
    assert.equal(new Set([usual, ...others]).size, 6);
  });

  const efforts: readonly (readonly [RequestChanges['effort'], number[]])[] = [
    [undefined, [10, 50]],
    ['Bytes', [10, 50]],
    ['AudioSeconds', [2, 3]],
    ['AnnotatedSeconds', [0, 7]],
  ];
  for (const [effort, expected] of efforts) {
    it(`sums ${effort ?? 'bytes, unless told otherwise,'} over the inputs of a unit`, () => {
      const inputs = [
        input('a/x.wav', { seconds: 2 }),
        input('b/x.wav', { size: 30, seconds: 3 }),
        input('b/y.csv', { size: 20, annotatedSeconds: 7 }),
      ];
      const plan = planOf(inputs, { per: 'Directory', command: ['run', '{inputDir}'], effort });
      assert.deepEqual(
        plan.map((unit) => unit.effort),
        expected,
      );
    });
  }

  it('hashes the plan by what is in it', () => {
    assert.equal(hashOf(['a.wav']), hashOf(['a.wav']));
    assert.notEqual(hashOf(['a.wav']), hashOf(['a.wav', 'b.wav']));
  });
});

describe('outputPath()', () => {
  const cases: Record<string, readonly [template: string, reldir: string, path: string]> = {
    'an empty directory at the start': ['{reldir}/x', '', 'x'],
    'an empty directory within': ['raw/{reldir}/x', '', 'raw/x'],
    'an empty directory as a part of a name': ['raw/{reldir}-x', '', 'raw/-x'],
    'a directory': ['raw/{reldir}/x', 'a/b', 'raw/a/b/x'],
  };
  for (const [sentence, [template, reldir, path]] of Object.entries(cases)) {
    it(`handles ${sentence}`, () => assert.equal(outputPath(template, { reldir }), path));
  }

  it('never leaves the outputs', () => {
    const part = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom('..', '.', '/', '../..', ''),
    );
    fc.assert(
      fc.property(part, part, part, (reldir, stem, rel) => {
        let path: string;
        try {
          path = outputPath('raw/{reldir}/{stem}/{rel}.rttm', { reldir, stem, rel });
        } catch {
          return;
        }
        const segments = path.split('/');
        assert.equal(segments[0], 'raw');
        assert.ok(segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..'));
      }),
    );
  });
});
