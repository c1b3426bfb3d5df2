import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { before, describe, it } from 'mocha';
import { z } from 'zod';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { eventually } from '../support/eventually.ts';
import { OPERATOR, OWNER, site, SMALL, TASKS } from './support/site.ts';
import {
  dataset,
  ended,
  get,
  model,
  onStore,
  podsOf,
  read,
  stat,
  task,
  tree,
  until,
} from './support/work.ts';

describe('a task in real pods', () => {
  let file: string;

  before(async () => {
    file = await model('file');
  });

  it('publishes verified outputs by one rename, owned and moded as documented', async () => {
    await dataset('good', { 'child 1/day 1/a.wav': wav(), 'child-2/b.wav': wav(), 'c.wav': wav() });
    await task('good', { model: file, dataset: { path: 'good' } });
    const seen = new Set<string>();
    const watching = eventually(
      'the outputs appear',
      async () => {
        const files = await tree('good/outputs/good');
        if (files.length > 0) seen.add(files.join('|'));
        return (await get('good'))?.status?.phase === 'Succeeded' ? true : undefined;
      },
      240_000,
    );
    const status = await ended('good');
    await watching;
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.equal(status.progress?.summary, '3/3');
    const files = await tree('good/outputs/good');
    assert.deepEqual(files, [
      'manifest.json',
      'metannots.yml',
      'raw/c.rttm',
      'raw/child 1/day 1/a.rttm',
      'raw/child-2/b.rttm',
    ]);
    assert.deepEqual([...seen], [files.join('|')], 'nobody ever saw a part of the outputs');
    for (const name of files) {
      const { uid, gid, mode } = await stat(`good/outputs/good/${name}`);
      assert.deepEqual({ uid, gid, mode: (mode & 0o777).toString(8) }, { ...OWNER, mode: '664' }, name);
    }
    assert.equal(((await stat('good/outputs/good/raw')).mode & 0o777).toString(8), '775');
    const manifest = z
      .object({ identity: z.string() })
      .parse(JSON.parse(await read('good/outputs/good/manifest.json')));
    const uid = (await get('good'))?.metadata.uid;
    assert.equal(manifest.identity, uid);
    assert.deepEqual(await tree(`good/outputs/.staging/${uid}`), [], 'nothing is left in staging');
  });

  it('gives the model no token and no privilege', async () => {
    const uid = (await get('good'))?.metadata.uid ?? '';
    const [pod] = await podsOf(uid);
    assert.ok(pod);
    assert.doesNotMatch(JSON.stringify(pod.spec), /kube-api-access|serviceAccountToken/);
  });

  it('runs a whole dataset at once with per: Dataset', async () => {
    const whole = await model('dataset', {
      run: { per: 'Dataset', command: ['/opt/sh-model/model-dataset.sh', '{inputDir}', '{outputDir}'] },
      gpu: { count: 1 },
    });
    await dataset('whole', { 'a.wav': wav(), 'x/b.wav': wav() });
    await task('whole', { model: whole, dataset: { path: 'whole' } });
    const status = await ended('whole');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.ok((await tree('whole/outputs/whole')).includes('raw/x/b.rttm'));
  });

  it('publishes the rest when a broken file is within maxFailedUnits, and names it', async () => {
    const lenient = await model('lenient', { failure: { maxAttempts: 1, maxFailedUnits: 1 } });
    await dataset('partly', { 'a.wav': wav(), 'broken.wav': Buffer.from('RIFF not a wave'), 'c.wav': wav() });
    await task('partly', { model: lenient, dataset: { path: 'partly' } });
    const status = await ended('partly');
    assert.equal(status.phase, 'PartiallySucceeded', status.message);
    assert.match(status.failedUnits?.join() ?? '', /broken\.wav/);
    assert.deepEqual(await tree('partly/outputs/partly/raw'), ['a.rttm', 'c.rttm']);
  });

  it('runs files whose names look like code or options', async () => {
    await dataset('names', {
      '$(touch x).wav': wav(),
      '-rf.wav': wav(),
      "it's; echo.wav": wav(),
      'é 日本.wav': wav(),
    });
    await task('names', { model: file, dataset: { path: 'names' } });
    const status = await ended('names');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.equal(status.progress?.summary, '4/4');
    assert.ok((await tree('names/outputs/names/raw')).includes('$(touch x).rttm'));
  });

  it('keeps finished units when a suspended task is resumed', async () => {
    const slow = await model('resume', {
      run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}', 'slow', '4'] },
    });
    await dataset('resume', { 'a.wav': wav(), 'b.wav': wav(), 'c.wav': wav() });
    await task('resume', { model: slow, dataset: { path: 'resume' } });
    await until('resume', 'one unit done', ({ progress }) => (progress?.unitsDone ?? 0) >= 1);
    await site().kube.run([
      'patch',
      'analysistask',
      'resume',
      '-n',
      'analysis-e2e',
      '--type=merge',
      '-p',
      '{"spec":{"desired":"Suspend"}}',
    ]);
    await until('resume', 'Suspended', ({ reason }) => reason === 'Suspended');
    await site().kube.run([
      'patch',
      'analysistask',
      'resume',
      '-n',
      'analysis-e2e',
      '--type=merge',
      '-p',
      '{"spec":{"desired":"Run"}}',
    ]);
    const status = await ended('resume');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.equal(status.attempt?.number, 2);
    const manifest = await read('resume/outputs/resume/manifest.json');
    assert.match(manifest, /"reused":\s*(true|[1-3])/);
  });
});

interface Failing {
  readonly what: string;
  readonly model?: Partial<ModelSpecInput>;
  readonly dataset?: string;
  readonly reason: string;
  readonly message: RegExp;
  readonly namespace?: typeof SMALL;
}

const behaving = (behaviour: string): Partial<ModelSpecInput> => ({
  run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}', behaviour] },
});
const wholeDataset = (...command: string[]): Partial<ModelSpecInput> => ({
  run: { per: 'Dataset', command },
});
const WHOLE = ['/opt/sh-model/model-dataset.sh', '{inputDir}', '{outputDir}'];

/** Every way to fail that a researcher may meet; the key is the name of the task. */
const FAILING: Readonly<Record<string, Failing>> = {
  missing: {
    what: 'the dataset does not exist',
    dataset: 'no/such corpus',
    reason: 'InvalidInput',
    message: /no\/such corpus/,
  },
  escape: {
    what: 'the dataset is a link out of the store',
    dataset: 'escape',
    reason: 'InvalidInput',
    message: /escape/,
  },
  rate: {
    what: 'a recording has the wrong sample rate',
    dataset: 'rate',
    reason: 'InvalidInput',
    message: /phone\.wav.*8000.*16000/,
  },
  nothing: {
    what: 'the model exits 0 and wrote nothing',
    model: behaving('nothing'),
    reason: 'MissingOutput',
    message: /raw\/a\.rttm/,
  },
  truncated: {
    what: 'an output is truncated',
    model: behaving('truncated'),
    reason: 'MissingOutput',
    message: /raw\/a\.rttm/,
  },
  fail: {
    what: 'the model fails, with its exit code',
    model: behaving('fail'),
    reason: 'ModelError',
    message: /exit code 3/,
  },
  'whole-fail': {
    what: 'a model of the whole dataset fails, with its last words',
    model: wholeDataset(...WHOLE, 'fail'),
    reason: 'ModelError',
    message: /exit code 3.*failing as told/,
  },
  oom: {
    what: 'the model is killed for memory',
    model: behaving('oom'),
    reason: 'OutOfMemory',
    message: /memory/,
  },
  'whole-oom': {
    what: 'a model of the whole dataset is killed for memory',
    model: wholeDataset(...WHOLE, 'oom'),
    reason: 'OutOfMemory',
    message: /resources\.memory/,
  },
  full: {
    what: 'the disk is full',
    model: behaving('fill'),
    dataset: 'full',
    namespace: SMALL,
    reason: 'Storage',
    message: /space/,
  },
  absent: {
    what: 'the command does not exist in the image',
    model: wholeDataset('/no/such/program', '{outputDir}'),
    reason: 'ConfigError',
    message: /\/no\/such\/program/,
  },
  'absent-file': {
    what: 'the command of a unit does not exist in the image',
    model: { run: { per: 'File', command: ['/no/such/program', '{input}', '{output}'] } },
    reason: 'ModelError',
    message: /127/,
  },
  'no-image': {
    what: 'the image does not exist',
    model: { image: 'localhost/no-such-image:1', failure: { pendingDeadlineSeconds: 45, maxAttempts: 1 } },
    reason: 'ImagePull',
    message: /localhost\/no-such-image:1/,
  },
};

describe('a task that must fail says why and what to do', () => {
  before(async () => {
    await dataset('one', { 'a.wav': wav() });
    await dataset('rate', { 'a.wav': wav(), 'phone.wav': wav(0.1, { sampleRate: 8000 }) });
    await dataset('full', { 'a.wav': wav() }, SMALL);
    await symlink('/etc', onStore('escape'));
    for (const [name, row] of Object.entries(FAILING)) {
      const spec = { model: await model(name, row.model ?? {}), dataset: { path: row.dataset ?? 'one' } };
      await task(name, spec, row.namespace ?? TASKS);
    }
  });

  for (const [name, row] of Object.entries(FAILING)) {
    it(`when ${row.what}`, async () => {
      const namespace = row.namespace ?? TASKS;
      const status = await ended(name, namespace);
      assert.deepEqual(
        [status.phase, status.reason, status.settled],
        ['Failed', row.reason, true],
        status.message,
      );
      assert.match(status.message ?? '', row.message);
      assert.deepEqual(
        await tree(`${row.dataset ?? 'one'}/outputs/${name}`, namespace),
        [],
        'nothing half is published',
      );
    });
  }

  it('when no node has that many GPUs, it waits and says so', async () => {
    await task('greedy', { model: await model('greedy', { gpu: { count: 64 } }), dataset: { path: 'one' } });
    const status = await until('greedy', 'Unschedulable', ({ reason }) => reason === 'Unschedulable');
    assert.match(status.message ?? '', /Insufficient nvidia\.com\/gpu/);
    await site().kube.run(['delete', 'analysistask', 'greedy', '-n', TASKS]);
  });

  it('when another task owns the output name', async () => {
    const file = await model('shared');
    await dataset('shared', { 'a.wav': wav() });
    await task('first', { model: file, dataset: { path: 'shared' }, outputName: 'same' });
    await task('second', { model: file, dataset: { path: 'shared' }, outputName: 'same' });
    const both = [await ended('first'), await ended('second')];
    const reasons = both.map(({ phase, reason }) => `${phase}/${reason}`).toSorted();
    assert.deepEqual(reasons, ['Failed/OutputConflict', 'Succeeded/Published']);
    assert.equal((await tree('shared/outputs/same')).length, 3);
  });
});

describe('a task that is interrupted', () => {
  it('stops within 30 s when it is deleted, publishes nothing and keeps what was published', async () => {
    const slow = await model('endless', {
      run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}', 'slow', '300'] },
    });
    await dataset('deleted', { 'a.wav': wav() });
    await task('kept', { model: await model('plain'), dataset: { path: 'deleted' } });
    assert.equal((await ended('kept')).phase, 'Succeeded');
    await task('deleted', { model: slow, dataset: { path: 'deleted' } });
    await until('deleted', 'Running', ({ phase }) => phase === 'Running');
    const uid = (await get('deleted'))?.metadata.uid ?? '';
    await site().kube.run(['delete', 'analysistask', 'deleted', '-n', 'analysis-e2e', '--wait=false']);
    await eventually(
      'no pod is left',
      async () => ((await podsOf(uid)).length === 0 ? true : undefined),
      30_000,
    );
    assert.deepEqual(await tree('deleted/outputs/deleted'), []);
    assert.equal((await tree('deleted/outputs/kept')).length, 3);
  });

  it('ends the same when the operator is killed in the middle', async () => {
    const slow = await model('unmoved', {
      run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}', 'slow', '5'] },
    });
    await dataset('unmoved', { 'a.wav': wav(), 'b.wav': wav() });
    await task('unmoved', { model: slow, dataset: { path: 'unmoved' } });
    await until('unmoved', 'Running', ({ phase }) => phase === 'Running');
    await site().kube.run([
      'delete',
      'pod',
      '-n',
      OPERATOR.namespace,
      '-l',
      OPERATOR.selector,
      '--grace-period=0',
      '--force',
      '--wait=false',
    ]);
    const status = await ended('unmoved');
    assert.equal(status.phase, 'Succeeded', status.message);
    assert.equal(status.attempt?.number, 1);
    const uid = (await get('unmoved'))?.metadata.uid ?? '';
    assert.equal((await podsOf(uid)).length, 1);
  });

  it('is cancelled in the middle and publishes nothing', async () => {
    const slow = await model('cancel', {
      run: { per: 'File', command: ['/opt/sh-model/model.sh', '{input}', '{output}', 'stubborn', '300'] },
    });
    await dataset('cancel', { 'a.wav': wav() });
    await task('cancel', { model: slow, dataset: { path: 'cancel' } });
    await until('cancel', 'Running', ({ phase }) => phase === 'Running');
    await site().kube.run([
      'patch',
      'analysistask',
      'cancel',
      '-n',
      'analysis-e2e',
      '--type=merge',
      '-p',
      '{"spec":{"desired":"Cancel"}}',
    ]);
    const status = await ended('cancel');
    assert.equal(status.phase, 'Cancelled');
    const uid = (await get('cancel'))?.metadata.uid ?? '';
    assert.deepEqual(await podsOf(uid), []);
    assert.deepEqual(await tree('cancel/outputs/cancel'), []);
  });
});
