import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { directoryNames, fileNames } from './naming.ts';
import type { Names } from './naming.ts';

describe('fileNames()', () => {
  const cases: Record<string, readonly [root: string, path: string, names: Names]> = {
    'a file at the root': ['in', 'a.wav', { rel: 'a', reldir: '', stem: 'a', rec: 'a' }],
    'a nested file': ['in', 'c/d/a.wav', { rel: 'c/d/a', reldir: 'c/d', stem: 'a', rec: 'c/d/a' }],
    'dots in names': [
      'in',
      'v1.2/a.b.wav',
      { rel: 'v1.2/a.b', reldir: 'v1.2', stem: 'a.b', rec: 'v1.2/a.b' },
    ],
    'no extension': ['in', 'v1.2/a', { rel: 'v1.2/a', reldir: 'v1.2', stem: 'a', rec: 'v1.2/a' }],
    'a hidden file': ['in', 'c/.wav', { rel: 'c/.wav', reldir: 'c', stem: '.wav', rec: 'c/.wav' }],
    'a recording of a profile': [
      'recordings/converted/standard',
      'c/a.wav',
      { rel: 'c/a', reldir: 'c', stem: 'a', rec: 'c/a' },
    ],
    'a recording below a narrower root': [
      'recordings/raw/2020',
      'c/a.wav',
      { rel: 'c/a', reldir: 'c', stem: 'a', rec: '2020/c/a' },
    ],
    'a converted annotation': [
      'annotations/vtc/converted',
      'c/a_0_3600.csv',
      { rel: 'c/a_0_3600', reldir: 'c', stem: 'a_0_3600', rec: 'c/a' },
    ],
    'a new line in a name': [
      'in',
      'a\nb/c\nd.wav',
      { rel: 'a\nb/c\nd', reldir: 'a\nb', stem: 'c\nd', rec: 'a\nb/c\nd' },
    ],
  };
  for (const [sentence, [root, path, names]] of Object.entries(cases)) {
    it(sentence, () => assert.deepEqual(fileNames(root, path), names));
  }
});

describe('directoryNames()', () => {
  it('names a directory by its path', () => {
    const names = directoryNames('recordings/raw', 'c/d.1');
    assert.deepEqual(names, { rel: 'c/d.1', reldir: 'c/d.1', stem: 'd.1', rec: 'c/d.1' });
  });

  it('leaves the root without a name', () => {
    assert.deepEqual(directoryNames('recordings/raw', ''), { rel: '', reldir: '', stem: '', rec: '' });
  });
});
