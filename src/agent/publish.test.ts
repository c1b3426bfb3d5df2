import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, GOOD_MODEL, RECORDINGS, RTTM_LINE, wav } from './testing/fixtures.ts';
import type { RequestChanges, StepOutcome, TestStore } from './testing/fixtures.ts';

const A = `${RECORDINGS}/a.wav`;

/** A model that runs this script with the input as $1 and the output as $2. */
function model(script: string): string[] {
  return ['sh', '-c', script, 'model', '{input}', '{output}'];
}

describe('publish', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(() => store.remove());

  const run = (changes: RequestChanges = {}, podUid?: string): Promise<StepOutcome> =>
    store.pod(aRequest(changes), podUid).run();

  interface Lie {
    readonly script: string;
    readonly category?: string;
    readonly message: RegExp;
    readonly request?: RequestChanges;
  }

  const lies: Record<string, Lie> = {
    nothing: {
      script: 'true',
      message: /"a.wav" exited 0, but "raw\/a.rttm" was not written\. Read the model's log/,
    },
    'an empty file': { script: ': >"$2"', message: /"raw\/a.rttm" is empty/ },
    'half a line': { script: `printf 'SPEAKER x 1 0.' >"$2"`, message: /is cut off/ },
    garbage: { script: 'head -c 100 /dev/urandom >"$2"; echo >>"$2"', message: /is no RTTM/ },
    'a sparse file': { script: 'truncate -s 1M "$2"', message: /is no RTTM|never written/ },
    'a link to a good file': {
      script: `echo '${RTTM_LINE}' >"$2.x"; ln -s "$2.x" "$2"`,
      message: /is not a regular file/,
    },
    'a link to a file of somebody else': {
      script: 'ln -s /etc/passwd "$2"',
      message: /is not a regular file/,
    },
    'a link in place of the directory': {
      script: `rmdir "\${2%/*}" && mkdir "\${2%/*}.x" && echo '${RTTM_LINE}' >"\${2%/*}.x/a.rttm" && ln -s raw.x "\${2%/*}"`,
      message: /is not a regular file/,
    },
    'a directory': { script: 'mkdir "$2"', message: /is not a regular file/ },
    'a pipe': { script: 'mkfifo "$2"', message: /is not a regular file/ },
    'a file of another name': { script: `echo '${RTTM_LINE}' >"$2.tmp"`, message: /was not written/ },
    'an exit code': {
      script: `echo '${RTTM_LINE}' >"$2"; exit 3`,
      category: 'ModelError',
      message: /"a.wav" ended with exit code 3.*kubectl logs/,
    },
    'a crash': {
      script: 'kill -SEGV $$',
      category: 'ModelError',
      message: /exit code 139 \(the model crashed with a segmentation fault\)/,
    },
    'a kill': {
      script: 'kill -9 $$',
      category: 'OutOfMemory',
      message: /was killed \(exit code 137\), most likely for memory: raise resources.memory/,
    },
    'an exit code that the model declares': {
      script: 'exit 65',
      category: 'InvalidInput',
      message: /exit code 65: the recording is silent/,
      request: { exitCodes: [{ code: 65, category: 'InvalidInput', hint: 'the recording is silent' }] },
    },
  };
  for (const [sentence, { script, category = 'MissingOutput', message, request }] of Object.entries(lies)) {
    it(`does not believe a model that leaves ${sentence}`, async () => {
      await store.put(A);
      const { code, report } = await run({ command: model(script), ...request });
      assert.match(report.message, message);
      assert.equal(report.category, category);
      assert.equal(code, category === 'InvalidInput' ? EXIT.invalidInput : EXIT.missingOutput);
      assert.equal(report.result, undefined);
      await assert.rejects(stat(store.path('outputs/result')), { code: 'ENOENT' });
    });
  }

  it('does not take the files of an earlier attempt for those of this one', async () => {
    await store.put(A);
    await run({ command: model(`echo '${RTTM_LINE}' >"$2"; exit 1`) }, 'pod-1');
    const { report } = await run({ command: model('true') }, 'pod-2');
    assert.equal(report.category, 'MissingOutput');
  });

  it('does not take a unit without an exit code as done', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await writeFile(join(pod.staging, 'out/raw/a.rttm'), `${RTTM_LINE}\n`);
    assert.match((await pod.step('publish')).report.message, /"a.wav" was not run to its end/);
  });

  it('verifies again what observe recorded, when the file has changed since', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await pod.loop();
    const file = join(pod.staging, 'out/raw/a.rttm');
    const { ino, mtimeMs, mtime, ctimeMs, size } = await stat(file);
    const record = {
      id: 'x',
      key: 'y',
      outputs: [{ path: 'raw/a.rttm', size, sha256: '0'.repeat(64), ino, mtimeMs, ctimeMs }],
    };
    await writeFile(join(pod.staging, 'units.jsonl'), `${JSON.stringify(record)}\n`);
    await writeFile(file, 'x'.repeat(size));
    await utimes(file, mtime, mtime);
    assert.match((await pod.step('publish')).report.message, /"raw\/a.rttm" is cut off/);
  });

  it('accepts silence where the model may write nothing', async () => {
    await store.put(A);
    const outputs = [{ path: 'raw/{stem}.rttm', format: 'Rttm', allowEmpty: true }];
    assert.equal((await run({ command: model(': >"$2"'), outputs })).code, EXIT.ok);
  });

  it('publishes a part when the model allows it, without what failed units left', async () => {
    for (const name of ['a', 'c/b', 'd']) await store.put(`${RECORDINGS}/${name}.wav`);
    const script = `echo '${RTTM_LINE}' >"$2"; case $1 in *b.wav) exit 3;; esac`;
    const { code, report } = await run({ command: model(script), maxFailedUnits: 1 });
    assert.equal(code, EXIT.ok);
    assert.deepEqual(report.units, { total: 3, done: 2, failed: 1, reused: 0 });
    assert.deepEqual(report.failedUnits, ['c/b.wav ended with exit code 3']);
    assert.equal(report.result?.files, 2);
    assert.deepEqual(await readdir(store.path('outputs/result/raw')), ['a.rttm', 'd.rttm']);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.deepEqual(manifest.units[1], {
      name: 'c/b.wav',
      key: manifest.units[1].key,
      outcome: 'Failed',
      exitCode: 3,
      category: 'ModelError',
      reason: 'ended with exit code 3',
    });
  });

  it('publishes no part when every unit failed, whatever the model allows', async () => {
    await store.put(A);
    const { code } = await run({ command: model('exit 3'), maxFailedUnits: 5 });
    assert.equal(code, EXIT.missingOutput);
  });

  it('judges a dataset by the outputs of its recordings', async () => {
    for (const name of ['a', 'b']) await store.put(`${RECORDINGS}/${name}.wav`);
    const pod = store.pod(aRequest({ per: 'Dataset', command: ['run', '{inputDir}', '{outputDir}'] }));
    await pod.step('prepare');
    await writeFile(join(pod.staging, 'out/raw/a.rttm'), `${RTTM_LINE}\n`);
    const half = await pod.step('publish');
    assert.match(
      half.report.message,
      /^1 of 2 units failed: "b.wav" the model exited 0, but "raw\/b.rttm" was not written/,
    );
    await writeFile(join(pod.staging, 'out/raw/b.rttm'), `${RTTM_LINE}\n`);
    assert.equal((await pod.step('publish')).code, EXIT.ok);
  });

  it('publishes once what the recordings of a dataset share', async () => {
    for (const name of ['a', 'b']) await store.put(`${RECORDINGS}/${name}.wav`);
    const outputs = [{ path: '{stem}.rttm', format: 'Rttm' }, { path: 'all.csv' }];
    const pod = store.pod(aRequest({ per: 'Dataset', command: ['run', '{inputDir}'], outputs }));
    await pod.step('prepare');
    for (const name of ['a.rttm', 'b.rttm', 'all.csv'])
      await writeFile(join(pod.staging, 'out', name), `${RTTM_LINE}\n`);
    const { report } = await pod.step('publish');
    assert.equal(report.result?.files, 3);
    assert.equal(report.result.bytes, 3 * (RTTM_LINE.length + 1));
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.deepEqual(
      manifest.outputs.map(({ path }: { path: string }) => path),
      ['a.rttm', 'all.csv', 'b.rttm'],
    );
  });

  it('keeps files that were not promised, drops links, and lists both', async () => {
    await store.put(A);
    const script = `cd "\${2%/raw/*}"; echo '${RTTM_LINE}' >"$2"; mkdir -p log; echo hi >log/x; ln -s /etc log/etc; mkfifo log/pipe; echo fake >manifest.json; mkdir metannots.yml`;
    assert.equal((await run({ command: model(script) })).code, EXIT.ok);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.deepEqual(manifest.extra, { count: 1, paths: ['log/x'] });
    assert.deepEqual(manifest.removed, { count: 2, paths: ['log/etc', 'log/pipe'] });
    assert.deepEqual(await readdir(store.path('outputs/result/log')), ['x']);
    assert.equal(manifest.identity, 'task-1');
  });

  it('gives files and directories the modes that the group needs', async () => {
    await store.put(A);
    const script = `umask 077; echo '${RTTM_LINE}' >"$2"; mkdir -p "\${2%/*}/deep"; echo x >"\${2%/*}/deep/x"; chmod 0 "\${2%/*}/deep/x"; chmod 4755 "$2"`;
    await run({ command: model(script) });
    const modes: Record<string, string> = {};
    for (const path of [
      '',
      'raw',
      'raw/deep',
      'raw/deep/x',
      'raw/a.rttm',
      'manifest.json',
      'metannots.yml',
    ]) {
      modes[path] = ((await stat(store.path('outputs/result', path))).mode & 0o7777).toString(8);
    }
    assert.deepEqual(modes, {
      '': '775',
      raw: '775',
      'raw/deep': '775',
      'raw/deep/x': '664',
      'raw/a.rttm': '664',
      'manifest.json': '664',
      'metannots.yml': '664',
    });
  });

  it('reports inputs that changed while the model ran', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await pod.loop();
    await store.put(A, wav(0.3));
    const { code, log } = await pod.step('publish');
    assert.equal(code, EXIT.ok);
    assert.match(log.join('\n'), /1 inputs changed while the task ran/);
    assert.deepEqual(JSON.parse(await store.text('outputs/result/manifest.json')).changedInputs, {
      count: 1,
      paths: ['a.wav'],
    });
  });

  it('records node, pod, times, parameters and GPU in the manifest', async () => {
    await store.put(A);
    const pod = store.pod(aRequest({ parameters: { t: '1' } }));
    await pod.step('prepare');
    await pod.loop({ NVIDIA_VISIBLE_DEVICES: 'GPU-1' });
    const { report } = await pod.step('publish');
    const text = await store.text('outputs/result/manifest.json');
    const manifest = JSON.parse(text);
    assert.equal(
      execFileSync('sha256sum', [store.path('outputs/result/manifest.json')])
        .toString()
        .slice(0, 64),
      report.result?.manifestSha256,
    );
    assert.equal(manifest.node, 'node-1');
    assert.deepEqual(manifest.pod, { name: 'demo-pod-1', uid: 'pod-1' });
    assert.deepEqual(manifest.parameters, { t: '1' });
    assert.equal(manifest.gpu, 'GPU-1');
    assert.equal(manifest.model.version, '2.0');
    assert.match(manifest.planHash, /^[0-9a-f]{64}$/);
    const hash = execFileSync('sha256sum', [store.path('outputs/result/raw/a.rttm')])
      .toString()
      .slice(0, 64);
    assert.deepEqual(manifest.outputs, [{ path: 'raw/a.rttm', size: RTTM_LINE.length + 1, sha256: hash }]);
  });

  it('replaces an empty directory', async () => {
    await store.put(A);
    await mkdir(store.path('outputs/result'), { recursive: true });
    assert.equal((await run()).code, EXIT.ok);
  });

  it('does not touch what appeared in its place meanwhile', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await pod.loop();
    await store.put('outputs/result/notes.txt', 'mine');
    const { code, report } = await pod.step('publish');
    assert.equal(code, EXIT.outputConflict);
    assert.match(report.message, /choose another outputName/);
    assert.equal(await store.text('outputs/result/notes.txt'), 'mine');
  });

  it('lets exactly one of two pods of one task publish; both report the same result', async () => {
    await store.put(A);
    const pods = ['pod-1', 'pod-2'].map((uid) => store.pod(aRequest(), uid));
    for (const pod of pods) {
      await pod.step('prepare');
      await pod.loop();
    }
    const outcomes = await Promise.all(pods.map((pod) => pod.step('publish')));
    assert.deepEqual(
      outcomes.map(({ code }) => code),
      [EXIT.ok, EXIT.ok],
    );
    assert.deepEqual(outcomes[0]?.report.result, outcomes[1]?.report.result);
  });

  it('lets exactly one of two tasks publish under one name', async () => {
    await store.put(A);
    const pods = ['task-1', 'task-2'].map((uid) => store.pod(aRequest({ uid }), `pod-of-${uid}`));
    for (const pod of pods) {
      await pod.step('prepare');
      await pod.loop();
    }
    const codes = (await Promise.all(pods.map((pod) => pod.step('publish')))).map(({ code }) => code);
    assert.deepEqual(
      codes.toSorted((a, b) => a - b),
      [EXIT.ok, EXIT.outputConflict],
    );
  });

  it('goes on where a crash left it: manifest written, not renamed', async () => {
    await store.put(A);
    await run();
    const pod = store.pod(aRequest({ uid: 'task-2', outputName: 'second' }));
    await pod.step('prepare');
    await pod.loop();
    await writeFile(
      join(pod.staging, 'out/manifest.json'),
      await readFile(store.path('outputs/result/manifest.json')),
    );
    await writeFile(join(pod.staging, 'manifest.tmp'), '{"half');
    assert.equal((await pod.step('publish')).code, EXIT.ok);
    assert.equal(JSON.parse(await store.text('outputs/second/manifest.json')).identity, 'task-2');
  });

  it('goes on where a crash left it: renamed, not reported', async () => {
    await store.put(A);
    const first = await run();
    const again = await store.pod(aRequest()).step('publish');
    assert.equal(again.code, EXIT.ok);
    assert.deepEqual(again.report, first.report);
  });

  it('does not follow a link that replaced the staging', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await pod.loop();
    await rename(pod.staging, store.path('elsewhere'));
    await symlink(store.path('elsewhere'), pod.staging);
    assert.equal((await pod.step('publish')).code, EXIT.internal);
  });

  it('leaves the staging for the next attempt when it does not publish', async () => {
    await store.put(A);
    await run({ command: model('exit 3') });
    assert.deepEqual(await readdir(store.path('outputs/.staging/task-1')), ['pod-1']);
  });

  it('removes the staging of all attempts of the task, and of no other', async () => {
    await store.put(A);
    await run({ command: model('exit 3') }, 'pod-1');
    await run({ uid: 'task-2', outputName: 'other', command: model('exit 3') }, 'pod-9');
    assert.equal((await run({}, 'pod-2')).code, EXIT.ok);
    assert.deepEqual(await readdir(store.path('outputs/.staging')), ['task-2']);
  });

  it('reports a damaged request as its own fault', async () => {
    const pod = store.pod(aRequest());
    const requestFile = store.path('request.json');
    await writeFile(requestFile, '{"schema": 2}');
    const { code, report } = await pod.step('publish', { requestFile });
    assert.equal(code, EXIT.internal);
    assert.match(report.message, /is not understood \(schema: .*same version/);
    await truncate(requestFile, 3);
    assert.match((await pod.step('publish', { requestFile })).report.message, /is not JSON/);
  });

  it('says so when POD_UID is missing', async () => {
    const { code, report } = await store
      .pod(aRequest({ command: GOOD_MODEL }))
      .step('publish', { podUid: '' });
    assert.equal(code, EXIT.internal);
    assert.match(report.message, /POD_UID is not set/);
  });
});
