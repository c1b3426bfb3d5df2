import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { runAfter } from './observe.ts';

describe('the number of a run of the demo', () => {
  it('begins at 1', () => assert.equal(runAfter([], []), 1));
  it('follows the highest one that a task carries', () => assert.equal(runAfter(['2', '10', ''], []), 11));
  it('follows the results on the volume, of which a new cluster has no tasks', () => {
    const files = [
      'speech-turns-3/manifest.json',
      'all-speakers-2/raw/a.rttm',
      '5d8c3f6a-0c0e-4f0a-9d2e-5b1a3c7e9f10/manifest.json',
      '.staging/7/out/a.rttm',
    ];
    assert.equal(runAfter(['1'], files), 4);
  });
});
