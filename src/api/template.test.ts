import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expandCommand, expandDataset, expandText, parameterValues, TemplateError } from './template.ts';
import type { TemplateValues } from './template.ts';

const VALUES: TemplateValues = {
  input: '/data/recordings/a b.wav',
  rel: 'sub/a b',
  reldir: 'sub',
  stem: 'a b',
  ...parameterValues({ threshold: '0.5', empty: '' }),
};

describe('expandText()', () => {
  const cases: Record<string, readonly [template: string, values: TemplateValues, expected: string]> = {
    'fills a placeholder': ['raw/{rel}.rttm', VALUES, 'raw/sub/a b.rttm'],
    'fills several in one text': ['{reldir}/{stem}/{stem}.csv', VALUES, 'sub/a b/a b.csv'],
    'takes the slash along when reldir is empty': [
      'raw/{reldir}/{stem}',
      { ...VALUES, reldir: '' },
      'raw/a b',
    ],
    'leaves shell variables alone': ['${input} and ${HOME}', VALUES, '${input} and ${HOME}'],
    'leaves JSON alone': ['{"a": {"b": 1}}', VALUES, '{"a": {"b": 1}}'],
    'does not fill what a value brings along': ['{stem}', { stem: '{input}', input: 'x' }, '{input}'],
    'does not interpret dollar patterns in a value': ['<{stem}>', { stem: "$& $1 $' $$" }, "<$& $1 $' $$>"],
  };
  for (const [sentence, [template, values, expected]] of Object.entries(cases)) {
    it(sentence, () => assert.equal(expandText(template, values), expected));
  }

  it('names an unknown placeholder and the known ones', () => {
    assert.throws(
      () => expandText('{inptu}', { input: 'x' }),
      /"\{inptu\}" uses \{inptu\}.*use one of \{input\}/,
    );
  });

  it('knows no placeholder that every object inherits', () => {
    assert.throws(() => expandText('{constructor}', {}), TemplateError);
  });
});

describe('expandCommand()', () => {
  const refused: Record<string, readonly [command: string[], values: TemplateValues]> = {
    'a file name that reads like an option': [['run', '{stem}'], { stem: '-rf' }],
    'an option made by an empty value': [['run', '{param.empty}-rf'], VALUES],
    'a file name that is a negative number': [['run', '{stem}'], { stem: '-5' }],
    'a placeholder in a script': [['sh', '-c', 'run {input}'], VALUES],
    'a placeholder in a script of a login shell': [['bash', '-lc', 'run {input}'], VALUES],
    'a NUL byte': [['run', '{stem}'], { stem: 'a\0b' }],
  };
  for (const [sentence, [command, values]] of Object.entries(refused)) {
    it(`refuses ${sentence}`, () => assert.throws(() => expandCommand(command, values), TemplateError));
  }

  const accepted: Record<string, readonly [command: string[], values: TemplateValues, expected: string[]]> = {
    'a dash behind a key': [['run', '--name={stem}'], { stem: '-rf' }, ['run', '--name=-rf']],
    'a negative number as a parameter': [
      ['run', '--shift', '{param.shift}'],
      parameterValues({ shift: '-1.5e-3' }),
      ['run', '--shift', '-1.5e-3'],
    ],
    'options that the model itself gives': [['run', '-n', '-'], {}, ['run', '-n', '-']],
    'a script that names no placeholder': [
      ['sh', '-c', 'awk \'{print}\' "$1"', 'sh', '{input}'],
      VALUES,
      ['sh', '-c', 'awk \'{print}\' "$1"', 'sh', '/data/recordings/a b.wav'],
    ],
  };
  for (const [sentence, [command, values, expected]] of Object.entries(accepted)) {
    it(`accepts ${sentence}`, () => assert.deepEqual(expandCommand(command, values), expected));
  }

  it('never lets a value make an argument of its own or an option of itself', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (stem) => {
        const command = ['run', '{stem}', '--name={stem}', '-c', 'echo'];
        try {
          const argv = expandCommand(command, { stem });
          assert.deepEqual(argv, ['run', stem, `--name=${stem}`, '-c', 'echo']);
          assert.ok(!stem.startsWith('-') && !stem.includes('\0'));
        } catch (error) {
          assert.ok(error instanceof TemplateError, String(error));
          assert.ok(stem.startsWith('-') || stem.includes('\0'));
        }
      }),
    );
  });
});

describe('expandDataset()', () => {
  const command = [
    'python',
    'infer.py',
    '--wavs',
    '{inputDir}',
    '--output',
    '{outputDir}/raw',
    '--t={param.t}',
  ];

  it('points at the root of the inputs and at the outputs', () => {
    assert.deepEqual(expandDataset(command, { root: 'recordings/raw', parameters: { t: '-1' } }), [
      'python',
      'infer.py',
      '--wavs',
      '/data/recordings/raw',
      '--output',
      '/out/raw',
      '--t=-1',
    ]);
  });

  it('points at the directory asked for', () => {
    const argv = expandDataset(['run', '{inputDir}'], { root: 'r', directory: 'child 1', parameters: {} });
    assert.deepEqual(argv, ['run', '/data/r/child 1']);
  });

  it('refuses a placeholder of a single file', () => {
    assert.throws(() => expandDataset(['run', '{input}'], { root: 'r', parameters: {} }), TemplateError);
  });
});
