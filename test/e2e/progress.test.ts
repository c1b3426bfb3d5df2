import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { analysisModel } from '../../src/api/objects.ts';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { eventually } from '../support/eventually.ts';
import { site } from './support/site.ts';
import { dataset, ended, model, task, until } from './support/work.ts';

describe('the progress of a task in real pods', () => {
  it('shows progress while it runs, and the model log by kubectl logs', async () => {
    const slow = await model('slow', {
      run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}', 'slow', '5'] },
    });
    await dataset('slow', { 'a.wav': wav(), 'b.wav': wav(), 'c.wav': wav(), 'd.wav': wav() });
    await task('slow', { model: slow, dataset: { path: 'slow' } });
    const middle = await until(
      'slow',
      'in the middle',
      ({ phase, progress }) =>
        phase === 'Running' && (progress?.unitsDone ?? 0) > 0 && (progress?.percent ?? 0) < 100,
    );
    assert.equal(middle.progress?.unitsTotal, 4);
    const columns = await site().kube.run(['get', 'analysistask', 'slow', '-n', 'analysis-e2e']);
    assert.match(columns, /NAME +PHASE +REASON +PROGRESS +ETA +MODEL +DATASET +AGE/);
    assert.match(columns, /slow +Running +Running +[1-3]\/4 +\d{4}-[-:T0-9]+Z +e2e-slow +slow/);
    const log = await site().kube.run(['logs', `job/${middle.attempt?.jobName ?? ''}`, '-n', 'analysis-e2e']);
    assert.match(log, /stand-in model: slow on \/data\/recordings\/converted\/standard\/a\.wav/);
    assert.equal((await ended('slow')).phase, 'Succeeded');
  });

  it('has learnt how fast the model is, and says of the next task when it will end before anything is done', async () => {
    const rate = await eventually('a rate of the model', async () => {
      const answer = await site().kube.run(['get', 'analysismodel', 'e2e-slow', '-o', 'json']);
      return analysisModel.parse(JSON.parse(answer)).status?.rates?.[0];
    });
    // 4 files at 5 seconds each, with the rounding of kubelet's times and what starting a process takes.
    const megabytes = (wav().length * 4) / 1e6;
    const seconds = rate.p50 * megabytes;
    assert.ok(seconds >= 18 && seconds < 45, `${seconds} s for all files`);
    assert.deepEqual([rate.gpu, rate.effort, rate.samples], ['None', 'Bytes', 1]);
    const models = await site().kube.run(['get', 'analysismodel', 'e2e-slow']);
    assert.match(models, /RATE/);
    assert.match(models, /1 GB in /);
    await task('slow-again', { model: 'e2e-slow', dataset: { path: 'slow' }, outputName: 'again' });
    const begun = await until(
      'slow-again',
      'an estimate',
      ({ progress }) => progress?.estimatedCompletion !== undefined,
    );
    assert.equal(begun.progress?.unitsDone, 0, 'before its first unit has ended');
    const end = Date.parse(begun.progress.estimatedCompletion ?? '');
    const late = Date.parse(begun.progress.estimatedCompletionP90 ?? '');
    const { finishedAt, phase } = await ended('slow-again');
    assert.equal(phase, 'Succeeded');
    const off = Math.abs(end - Date.parse(finishedAt ?? '')) / 1000;
    assert.ok(off < 45 && late >= end, `the estimate was ${off} s off`);
  });
});
