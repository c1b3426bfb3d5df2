import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS, wav } from './testing/fixtures.ts';
import type { RequestChanges, TestStore } from './testing/fixtures.ts';
import { readPlan } from './testing/staged.ts';
import { runAgent } from './index.ts';

const A = `${RECORDINGS}/a.wav`;

describe('prepare', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(() => store.remove());

  interface Case {
    readonly given?: () => Promise<void>;
    readonly request?: RequestChanges;
    readonly code: number;
    readonly message: RegExp;
  }

  const put = (path: string, content?: Buffer | string) => () => store.put(path, content);
  const AUDIO = { audio: { sampleRate: 16000, channels: 1 } };

  const cases: Record<string, Case> = {
    'a dataset that does not exist': {
      request: { dataset: { path: 'lab/corpsu' } },
      code: EXIT.invalidInput,
      message: /dataset.path "lab\/corpsu" does not exist in the store: check the spelling/,
    },
    'a dataset that is a file': {
      given: () => writeFile(join(store.root, 'lab/file'), ''),
      request: { dataset: { path: 'lab/file' } },
      code: EXIT.invalidInput,
      message: /"lab\/file" is a file: name the directory/,
    },
    'a dataset path that climbs out of the store': {
      request: { dataset: { path: 'lab/../../etc' } },
      code: EXIT.invalidInput,
      message: /contains a "\." or "\.\." segment/,
    },
    'a dataset that is a link out of the store': {
      given: () => symlink('/etc', join(store.root, 'lab/etc')),
      request: { dataset: { path: 'lab/etc' } },
      code: EXIT.invalidInput,
      message: /"lab\/etc" is a link to a place outside of the store: copy the data/,
    },
    'a dataset without its recordings directory': {
      given: () => rm(store.path('recordings'), { recursive: true }),
      code: EXIT.invalidInput,
      message: /inputs.root "recordings\/converted\/standard" does not exist in the dataset/,
    },
    'a dataset without inputs': {
      given: put(`${RECORDINGS}/readme.txt`, 'x'),
      code: EXIT.invalidInput,
      message:
        /no input matches "\*\*\/\*.wav" below "lab\/corpus\/recordings\/converted\/standard": copy the recordings there/,
    },
    'a directory filter that does not exist': {
      given: put(A),
      request: { dataset: { path: 'lab/corpus', directory: 'child9' } },
      code: EXIT.invalidInput,
      message: /dataset.directory ".*child9" does not exist/,
    },
    'a missing requirement': {
      given: put(A),
      request: { requires: ['annotations/vtc/converted/*.csv'] },
      code: EXIT.invalidInput,
      message:
        /model vtc-2-0 needs "annotations\/vtc\/converted\/\*.csv".*run the analysis that makes it first/,
    },
    'a wrong sample rate': {
      given: put(A, wav(1, { sampleRate: 8000 })),
      request: AUDIO,
      code: EXIT.invalidInput,
      message: /"a.wav" has a sample rate of 8000 Hz instead of 16000 Hz: convert it \(sox IN -r 16000 OUT\)/,
    },
    'a wrong number of channels': {
      given: put(A, wav(1, { channels: 2 })),
      request: AUDIO,
      code: EXIT.invalidInput,
      message: /"a.wav" has 2 channels instead of 1: convert it \(sox IN -c 1 OUT\)/,
    },
    'an empty recording': {
      given: put(A, ''),
      code: EXIT.invalidInput,
      message: /"a.wav" is empty \(0 bytes\)/,
    },
    'a truncated recording': {
      given: put(A, wav(1, { declared: 64000 })),
      code: EXIT.invalidInput,
      message: /"a.wav" is truncated: its header promises 64000 bytes of audio, the file holds 32000/,
    },
    'a git-annex link without content': {
      given: () => symlink('../../../.git/annex/objects/x/SHA256E-s1--ab.wav', store.path(A)),
      code: EXIT.invalidInput,
      message: /"a.wav" has no content here: run "git annex get"/,
    },
    'a link out of the dataset': {
      given: () =>
        symlink('../../../../../secret.wav', store.path(A)).then(() =>
          writeFile(join(store.root, 'secret.wav'), wav()),
        ),
      code: EXIT.invalidInput,
      message: /"a.wav" is a link out of the dataset: copy the file/,
    },
    'an absolute link': {
      given: async () => {
        await store.put('recordings/raw/x.wav');
        await symlink(store.path('recordings/raw/x.wav'), store.path(A));
      },
      code: EXIT.invalidInput,
      message: /"a.wav" is a link that works only at this mount point/,
    },
    'two recordings that promise one output': {
      given: async () => {
        await store.put(A);
        await store.put(`${RECORDINGS}/c/a.wav`);
      },
      request: { outputs: [{ path: '{stem}.rttm' }] },
      code: EXIT.invalidInput,
      message: /would both write "a.rttm"/,
    },
    'outputs of another task': {
      given: async () => {
        await store.put(A);
        await store.pod(aRequest({ uid: 'other' })).run();
      },
      code: EXIT.outputConflict,
      message:
        /"lab\/corpus\/outputs\/result" already holds the result of task lab\/demo \(other\): choose another outputName/,
    },
    'foreign files in the place of the outputs': {
      given: put('outputs/result/notes.txt', 'mine'),
      code: EXIT.outputConflict,
      message: /already holds files without a manifest of this operator/,
    },
    'a manifest that is damaged': {
      given: put('outputs/result/manifest.json', '{\n  "schema": 1,\n  "units": [\n'),
      code: EXIT.outputConflict,
      message: /already holds files without a manifest of this operator/,
    },
    'a manifest that is a link to one of this task': {
      given: async () => {
        await store.put(A);
        await store.pod(aRequest({ outputName: 'first' })).run();
        await mkdir(store.path('outputs/result'));
        await symlink('../first/manifest.json', store.path('outputs/result/manifest.json'));
      },
      code: EXIT.outputConflict,
      message: /already holds files without a manifest of this operator/,
    },
    'a manifest of somebody else': {
      given: put('outputs/result/manifest.json', 'x\n'.repeat(1000)),
      code: EXIT.outputConflict,
      message: /already holds files without a manifest of this operator/,
    },
    'a link in the place of the outputs': {
      given: async () => {
        await mkdir(store.path('outputs'));
        await symlink('/tmp', store.path('outputs/result'));
      },
      code: EXIT.outputConflict,
      message: /already holds a file or link/,
    },
    'a link in the place of the directory of all outputs': {
      given: async () => {
        await store.put(A);
        await symlink('/tmp', store.path('outputs'));
      },
      code: EXIT.outputConflict,
      message: /outputs" is not a directory/,
    },
  };
  for (const [sentence, { given, request, code, message }] of Object.entries(cases)) {
    it(`refuses ${sentence}`, async () => {
      await given?.();
      const outcome = await store.pod(aRequest(request)).step('prepare');
      assert.match(outcome.report.message, message);
      assert.equal(outcome.code, code);
      assert.equal(outcome.report.category, code === EXIT.outputConflict ? 'OutputConflict' : 'InvalidInput');
      assert.match(outcome.log.at(-1) ?? '', message);
    });
  }

  it('tells what it found', async () => {
    await store.put(A, wav(90));
    await store.put(`${RECORDINGS}/b.wav`, wav(120));
    await store.put(`${RECORDINGS}/c.wav`, wav(1, { sampleRate: 8000 }));
    const { code, log, report } = await store.pod(aRequest({ ...AUDIO, maxFailedUnits: 1 })).step('prepare');
    assert.equal(code, EXIT.ok);
    assert.match(
      log.join('\n'),
      /^3 recordings, 3.5 min of audio, 1 refused: "c.wav" has a sample rate of 8000 Hz/,
    );
    assert.deepEqual(report.units, { total: 3, done: 0, failed: 1, reused: 0 });
  });

  it('names at most three bad recordings, and how many more there are', async () => {
    for (let index = 0; index < 6; index++) await store.put(`${RECORDINGS}/${index}.wav`, '');
    const { report } = await store.pod(aRequest({ maxFailedUnits: 2 })).step('prepare');
    assert.match(
      report.message,
      /^6 of 6 inputs cannot be analysed \(the model allows 2\): "0.wav".*"2.wav"[^"]*; and 3 more$/,
    );
  });

  it('takes git-annex links, notes their key, and skips hidden and output directories', async () => {
    await store.put('.git/annex/objects/zz/KEY-s1--ab.wav/KEY-s1--ab.wav');
    await symlink('../../../.git/annex/objects/zz/KEY-s1--ab.wav/KEY-s1--ab.wav', store.path(A));
    await store.put(`${RECORDINGS}/.hidden/b.wav`);
    await symlink('.', store.path(RECORDINGS, 'loop'));
    const pod = store.pod(aRequest());
    assert.equal((await pod.step('prepare')).code, EXIT.ok);
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    assert.deepEqual(
      plan?.units.map(({ name }) => name),
      ['a.wav'],
    );
    assert.equal(plan.units[0]?.inputs[0]?.annexKey, 'KEY-s1--ab.wav');
  });

  it('works on the directory asked for, in the order of the bytes of the names', async () => {
    const names = ['é', 'z', 'Z', 'a b', 'a'].map((name) => `c/${name}.wav`);
    for (const name of [...names, 'other.wav']) await store.put(`${RECORDINGS}/${name}`);
    const pod = store.pod(aRequest({ dataset: { path: 'lab/corpus', directory: 'c' } }));
    await pod.step('prepare');
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    assert.deepEqual(
      plan?.units.map(({ name }) => name),
      ['c/Z.wav', 'c/a b.wav', 'c/a.wav', 'c/z.wav', 'c/é.wav'],
    );
  });

  it('goes by the bytes of whole paths, directories among files', async () => {
    const paths = ['a-b.wav', 'a/x.wav', 'a.wav', 'a0.wav', 'a/b/y.wav', 'a/b-c.wav', '\uFFFD.wav', '𝄞.wav'];
    for (const path of paths) await store.put(`${RECORDINGS}/${path}`);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    assert.deepEqual(
      plan?.units.map(({ name }) => name),
      paths
        .map((path) => Buffer.from(path))
        .toSorted((a, b) => a.compare(b))
        .map(String),
    );
  });

  it('refuses a name that is not UTF-8 and goes on with the others', async () => {
    await store.put(A);
    await writeFile(
      Buffer.concat([Buffer.from(`${store.path(RECORDINGS)}/caf`), Buffer.from([0xe9]), Buffer.from('.wav')]),
      wav(),
    );
    const { code, log } = await store.pod(aRequest({ maxFailedUnits: 1 })).step('prepare');
    assert.equal(code, EXIT.ok);
    assert.match(log.join(), /not UTF-8: rename it/);
  });

  it('keeps its plan when it is executed again, also when the inputs have changed', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await writeFile(join(pod.staging, 'ctl/marker'), '');
    const before = await readFile(join(pod.staging, 'plan.json'), 'utf8');
    await store.put(`${RECORDINGS}/b.wav`);
    assert.equal((await pod.step('prepare')).code, EXIT.ok);
    assert.equal(await readFile(join(pod.staging, 'plan.json'), 'utf8'), before);
    assert.equal(await readFile(join(pod.staging, 'ctl/marker'), 'utf8'), '');
  });

  it('starts over when it was interrupted before the plan was complete', async () => {
    await store.put(A);
    const pod = store.pod(aRequest());
    await mkdir(join(pod.staging, 'out/raw'), { recursive: true });
    await writeFile(join(pod.staging, 'out/raw/a.rttm'), 'old');
    await writeFile(join(pod.staging, 'plan.json.tmp'), '{"half');
    assert.equal((await pod.step('prepare')).code, EXIT.ok);
    await assert.rejects(stat(join(pod.staging, 'out/raw/a.rttm')), { code: 'ENOENT' });
  });

  it('answers 42 with the result when this identity is published already', async () => {
    await store.put(A);
    const first = await store.pod(aRequest()).run();
    const again = await store.pod(aRequest(), 'pod-2').step('prepare');
    assert.equal(again.code, EXIT.alreadyPublished);
    assert.deepEqual(again.report.result, first.report.result);
    assert.equal(again.report.category, undefined);
  });

  it('takes an empty directory in the place of the outputs as free', async () => {
    await store.put(A);
    await mkdir(store.path('outputs/result'), { recursive: true });
    assert.equal((await store.pod(aRequest()).step('prepare')).code, EXIT.ok);
  });

  it('makes directories that the group may write', async () => {
    await store.put(`${RECORDINGS}/c/a.wav`);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    for (const name of ['', 'out', 'ctl', 'out/raw/c']) {
      assert.equal((await stat(join(pod.staging, name))).mode & 0o777, 0o775, name);
    }
  });

  it('says what to do when the pod may not write to the dataset', async () => {
    assert.equal(process.geteuid?.(), 0, 'this test needs root, to become another user');
    await store.put(A);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    await rm(store.path('outputs'), { recursive: true });
    const lines: string[] = [];
    const options = pod.options({ terminationLog: '/dev/null', log: (line) => lines.push(line) });
    await Promise.all([store.root, dirname(options.requestFile)].map((path) => chmod(path, 0o755)));
    const groups = process.getgroups?.() ?? [];
    process.setgroups?.([]);
    process.setegid?.(65534);
    process.seteuid?.(65534);
    try {
      assert.equal(await runAgent('prepare', options), EXIT.storage);
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
      process.setgroups?.(groups);
    }
    assert.match(
      lines.join(),
      /Storage: the user of the pod may not do this: give its uid or gid write permission.*outputs/,
    );
  });
});
