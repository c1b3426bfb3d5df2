import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { aModel, aTask } from '../../test/support/builders.ts';
import { AnalysisModel, AnalysisTask } from './kinds.ts';

describe('AnalysisTask', () => {
  it('knows its type and leaves out what is undefined', () => {
    const task = aTask({ name: 'a', namespace: 'lab1' });
    assert.deepEqual(JSON.parse(JSON.stringify(task)), {
      apiVersion: 'analysis.elsi.dev/v1alpha1',
      kind: 'AnalysisTask',
      metadata: { name: 'a', namespace: 'lab1' },
      spec: { model: 'vad-1-0', dataset: { path: 'lab1/corpus' } },
    });
  });

  it('recognises its own kind only', () => {
    assert.ok(AnalysisTask.is(aTask()));
    assert.ok(!AnalysisTask.is(aModel()));
    assert.ok(!AnalysisModel.is(aTask()));
  });

  it('validates, naming every field that does not fit', () => {
    aTask().validate();
    aModel().validate();
    const wrong = aTask({ name: 'a' }, { model: 'No', dataset: { path: '../x' } });
    assert.throws(() => wrong.validate(), /"model"[^]*"path"[^]*dataset\.path must be a relative path/);
  });

  it('does not share what it was built from', () => {
    const dataset = { path: 'a' };
    const task = aTask({}, { dataset });
    dataset.path = 'b';
    assert.equal(task.spec.dataset.path, 'a');
  });
});
