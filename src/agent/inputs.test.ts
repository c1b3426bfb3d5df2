/** Inputs as laboratories really have them, each through a whole pod: prepare, the loop with the real sh, publish. */
import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { appendFile, chmod, mkdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EXIT } from '../api/request.ts';
import type { AgentRequest } from '../api/request.ts';
import { runAgent } from './index.ts';
import { aRequest, aStore, GOOD_MODEL, RECORDINGS, RTTM_LINE, wav } from './testing/fixtures.ts';
import type { RequestChanges, StepOutcome, TestPod, TestStore } from './testing/fixtures.ts';
import { readPlan } from './testing/staged.ts';

/** Whole seconds, so that a file can be given the same time again. */
const LONG_AGO = 1_700_000_000;
const NEED = { audio: { sampleRate: 16000, channels: 1 } };

/** A WAV whose sizes stand in a ds64 chunk, as recorders write what may grow above 4 GiB. */
function rf64(content: Buffer): Buffer {
  const ds64 = Buffer.alloc(36);
  ds64.write('ds64', 0, 'latin1');
  ds64.writeUInt32LE(28, 4);
  ds64.writeBigUInt64LE(BigInt(content.length + 28), 8);
  ds64.writeBigUInt64LE(BigInt(content.length - 44), 16);
  const file = Buffer.concat([content.subarray(0, 12), ds64, content.subarray(12)]);
  file.write('RF64', 0, 'latin1');
  file.writeUInt32LE(0xffffffff, 4);
  file.writeUInt32LE(0xffffffff, 36 + 40);
  return file;
}

/** The same samples under WAVE_FORMAT_EXTENSIBLE. */
function extensible(content: Buffer): Buffer {
  const format = Buffer.alloc(40);
  content.copy(format, 0, 20, 36);
  format.writeUInt16LE(0xfffe, 0);
  format.writeUInt16LE(22, 16);
  format.writeUInt16LE(16, 18);
  format.writeUInt16LE(1, 24);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(format.length);
  return Buffer.concat([content.subarray(0, 16), size, format, content.subarray(36)]);
}

/** The start of a FLAC file: all that its header tells. */
function flac(sampleRate: number): Buffer {
  const info = Buffer.alloc(34);
  info.writeUInt16BE(4096, 0);
  info.writeUInt16BE(4096, 2);
  info.writeBigUInt64BE((BigInt(sampleRate) << 44n) | (15n << 36n) | BigInt(sampleRate), 10);
  return Buffer.concat([Buffer.from('fLaC'), Buffer.from([0x80, 0, 0, 34]), info]);
}

describe('an input', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(() => store.remove());

  const put = (name: string, content?: Buffer | string): Promise<void> =>
    store.put(`${RECORDINGS}/${name}`, content);
  const request = (changes: RequestChanges = {}): AgentRequest => aRequest({ ...NEED, ...changes });

  const names: Record<string, string> = {
    blanks: 'child 1/night  2.wav',
    'letters of any script': '子供/ñandú é.wav',
    'a quote': "it's.wav",
    'double quotes and a backslash': '"a\\b".wav',
    'a new line': 'two\nlines.wav',
    'what a shell would run': '$(touch hacked) `touch hacked`;touch hacked.wav',
    'a glob': '*[a-z]?.wav',
    'the form of a placeholder': '{output}$(HOME)${HOME}.wav',
    '250 bytes': `${'x'.repeat(246)}.wav`,
    '250 bytes in characters of three': `${'語'.repeat(82)}.wav`,
    'a carriage return and a line separator': 'a\r\u2028b.wav',
  };
  for (const [sentence, name] of Object.entries(names)) {
    it(`may have a name with ${sentence}`, async () => {
      await put(name);
      const { code, report } = await store.pod(request()).run();
      assert.equal(code, EXIT.ok, report.message);
      const output = `raw/${name.slice(0, -4)}.rttm`;
      assert.equal(await store.text(`outputs/result/${output}`), `${RTTM_LINE}\n`);
      const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
      assert.equal(manifest.inputs[0].path, `${RECORDINGS}/${name}`);
      assert.equal(manifest.outputs[0].path, output);
      assert.deepEqual(manifest.extra, { count: 0, paths: [] });
    });
  }

  const good: Record<string, () => Promise<void>> = {
    'an RF64 file': () => put('a.wav', rf64(wav(1))),
    'a WAVE_FORMAT_EXTENSIBLE file': () => put('a.wav', extensible(wav(1))),
    'a FLAC file': () => put('a.flac', flac(16000)),
    'a link within git-annex': async () => {
      await store.put('.git/annex/objects/f/K/KEY.wav', wav(1));
      await symlink('../../../.git/annex/objects/f/K/KEY.wav', store.path(RECORDINGS, 'a.wav'));
    },
  };
  for (const [sentence, given] of Object.entries(good)) {
    it(`may be ${sentence}`, async () => {
      await given();
      const pod = store.pod(request({ include: ['**/*.wav', '**/*.flac'] }));
      const { code, report } = await pod.step('prepare');
      assert.equal(code, EXIT.ok, report.message);
      const plan = await readPlan(join(pod.staging, 'plan.json'));
      assert.equal(plan?.units[0]?.inputs[0]?.seconds, 1);
    });
  }

  const link = (target: string, name = 'a.wav'): Promise<void> =>
    symlink(target, store.path(RECORDINGS, name));
  const bad: Record<string, readonly [given: () => Promise<void>, message: RegExp]> = {
    'whose FLAC header tells another rate': [
      () => put('a.flac', flac(44100)),
      /"a.flac" has a sample rate of 44100 Hz instead of 16000 Hz/,
    ],
    'whose RF64 header tells another rate': [
      () => put('a.wav', rf64(wav(1, { sampleRate: 8000 }))),
      /"a.wav" has a sample rate of 8000 Hz/,
    ],
    'that is a FLAC in name only': [() => put('a.flac', 'no'), /"a.flac" is not a FLAC file/],
    'that has a header and nothing behind it': [
      () => put('a.wav', wav(0)),
      /"a.wav" has a header but no audio behind it/,
    ],
    'that ends within its header': [
      () => put('a.wav', wav(1).subarray(0, 30)),
      /"a.wav" has a broken header/,
    ],
    'of zero bytes': [() => put('a.wav', ''), /"a.wav" is empty \(0 bytes\)/],
    'that is one of two links in a circle': [
      async () => {
        await link('b.wav');
        await link('a.wav', 'b.wav');
      },
      /"a.wav" is a broken link: repair it; "b.wav" is a broken link/,
    ],
    'that links to a directory': [
      async () => {
        await mkdir(store.path(RECORDINGS, 'd'));
        await link('d');
      },
      /"a.wav" is not a regular file: remove it/,
    ],
    'that links out of the dataset through another link': [
      async () => {
        await writeFile(join(store.root, 'secret.wav'), wav());
        await symlink('../../../secret.wav', store.path('recordings/hop.wav'));
        await link('../../hop.wav');
      },
      /"a.wav" is a link out of the dataset: copy the file/,
    ],
  };
  for (const [sentence, [given, message]] of Object.entries(bad)) {
    it(`is refused ${sentence}`, async () => {
      await given();
      const { code, report } = await store
        .pod(request({ include: ['**/*.wav', '**/*.flac'] }))
        .step('prepare');
      assert.equal(code, EXIT.invalidInput);
      assert.match(report.message, message);
    });
  }

  it('is refused that the user of the pod may not read', async () => {
    await put('a.wav');
    await put('b.wav');
    await chmod(store.path(RECORDINGS, 'a.wav'), 0o600);
    const pod = store.pod(request({ maxFailedUnits: 1 }));
    await mkdir(store.path('outputs'), { mode: 0o777 });
    await chmod(store.path('outputs'), 0o777);
    const { code, log } = await asNobody(pod, [store.root]);
    assert.equal(code, EXIT.ok);
    assert.match(
      log,
      /1 refused: "a.wav" may not be read by uid 65534: make it readable \(chmod g\+r or o\+r\)/,
    );
  });

  it('is not looked for behind a link that leads out of the dataset', async () => {
    await mkdir(join(store.root, 'elsewhere'));
    await writeFile(join(store.root, 'elsewhere/a.wav'), wav());
    await link('../../../../../elsewhere', 'child');
    const named = await store
      .pod(request({ dataset: { path: 'lab/corpus', directory: 'child' } }))
      .step('prepare');
    assert.equal(named.code, EXIT.invalidInput);
    assert.match(
      named.report.message,
      /dataset.directory ".*child" is a link to a place outside of the dataset/,
    );
    const whole = await store.pod(request()).step('prepare');
    assert.match(whole.report.message, /no input matches.*; 1 linked directories were not entered/);
  });

  const changes: Record<string, readonly [change: () => Promise<void>, changed: string[]]> = {
    'that grew': [() => appendFile(store.path(RECORDINGS, 'a.wav'), 'x'), ['a.wav']],
    'that vanished': [() => rm(store.path(RECORDINGS, 'a.wav')), ['a.wav']],
    'that was replaced by its equal': [
      async () => {
        const file = store.path(RECORDINGS, 'a.wav');
        await put('new');
        await rename(store.path(RECORDINGS, 'new'), file);
        await utimes(file, LONG_AGO, LONG_AGO);
      },
      ['a.wav'],
    ],
    'that came later': [() => put('c.wav'), []],
  };
  for (const [sentence, [change, changed]] of Object.entries(changes)) {
    it(`${sentence} while the model ran is told in the manifest`, async () => {
      await put('a.wav');
      await put('b.wav');
      await utimes(store.path(RECORDINGS, 'a.wav'), LONG_AGO, LONG_AGO);
      const pod = store.pod(request());
      await pod.step('prepare');
      await pod.loop();
      await change();
      assert.equal((await pod.step('publish')).code, EXIT.ok);
      const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
      assert.deepEqual(manifest.changedInputs, { count: changed.length, paths: changed });
      assert.deepEqual(
        manifest.inputs.map(({ path }: { path: string }) => path),
        [`${RECORDINGS}/a.wav`, `${RECORDINGS}/b.wav`],
      );
    });
  }

  it('is what ChildProject calls a recording, where an output is named after {rec}', async () => {
    await store.put(
      'annotations/vtc/converted/c1/night_0_3600000.csv',
      'segment_onset,segment_offset\n0,10\n',
    );
    const { code, report } = await store
      .pod(
        aRequest({
          root: 'annotations/vtc/converted',
          include: ['**/*.csv'],
          command: GOOD_MODEL,
          outputs: [{ path: 'raw/{rec}.rttm', format: 'Rttm' }],
        }),
      )
      .run();
    assert.equal(code, EXIT.ok, report.message);
    assert.equal(await store.text('outputs/result/raw/c1/night.rttm'), `${RTTM_LINE}\n`);
  });

  it('of annotations counts by their segments, where the model says so', async () => {
    await store.put('annotations/vtc/a.csv', 'segment_onset,segment_offset\n0,1500\n');
    await store.put('annotations/vtc/b.rttm', 'SPEAKER b 1 0 4.5 <NA> <NA> CHI <NA> <NA>\n');
    const segments = aRequest({
      root: 'annotations/vtc',
      include: ['*'],
      effort: 'AnnotatedSeconds',
      outputs: [{ path: '{stem}.rttm', format: 'Rttm' }],
    });
    const pod = store.pod(segments);
    await pod.step('prepare');
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    assert.deepEqual(
      plan?.units.map(({ name, effort }) => [name, effort]),
      [
        ['a.csv', 1.5],
        ['b.rttm', 4.5],
      ],
    );
    await pod.loop();
    assert.equal((await pod.step('publish')).code, EXIT.ok);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.equal(manifest.inputs[1].annotatedSeconds, 4.5);
  });

  it('of another model is there only when its content is', async () => {
    await put('a.wav');
    await mkdir(store.path('annotations/vtc/converted'), { recursive: true });
    await symlink('../../../.git/annex/objects/x.csv', store.path('annotations/vtc/converted/a.csv'));
    const needy = request({ requires: ['annotations/vtc/converted/*.csv'] });
    assert.match(
      (await store.pod(needy).step('prepare')).report.message,
      /nothing matches: run the analysis/,
    );
    await writeFile(join(store.root, 'b.csv'), 'x');
    await symlink('../../../../../b.csv', store.path('annotations/vtc/converted/b.csv'));
    assert.equal((await store.pod(needy).step('prepare')).code, EXIT.invalidInput);
    await store.put('.git/annex/objects/x.csv', 'x');
    assert.equal((await store.pod(needy).step('prepare')).code, EXIT.ok);
  });

  /** Runs prepare as a user that owns nothing; the directories on the way are opened to it. */
  async function asNobody(
    pod: TestPod,
    open: readonly string[],
  ): Promise<Pick<StepOutcome, 'code'> & { log: string }> {
    assert.equal(process.geteuid?.(), 0, 'this test needs root, to become another user');
    const lines: string[] = [];
    const options = pod.options({ terminationLog: '/dev/null', log: (line) => lines.push(line) });
    await writeFile(options.requestFile, JSON.stringify(request({ maxFailedUnits: 1 })));
    await Promise.all([...open, dirname(options.requestFile)].map((path) => chmod(path, 0o755)));
    const groups = process.getgroups?.() ?? [];
    process.setgroups?.([]);
    process.setegid?.(65534);
    process.seteuid?.(65534);
    try {
      return { code: await runAgent('prepare', options), log: lines.join('\n') };
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
      process.setgroups?.(groups);
    }
  }
});

describe('an output', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
    await store.put(`${RECORDINGS}/a.wav`);
  });
  afterEach(() => store.remove());

  it('of 4 GiB and a byte is hashed in little memory', async function () {
    this.timeout(600_000);
    const command = ['sh', '-c', 'truncate -s 4294967297 "$2"', 'model', '{input}', '{output}'];
    const pod = store.pod(aRequest({ command, outputs: [{ path: '{stem}.bin' }] }));
    await pod.step('prepare');
    await pod.loop();
    const before = process.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 20);
    const { code, report } = await pod.step('publish');
    clearInterval(watch);
    assert.equal(code, EXIT.ok, report.message);
    assert.equal(report.result?.bytes, 4294967297);
    assert.ok(peak - before < 64 * 1024 * 1024, `grew by ${peak - before} bytes`);
  });

  it('outside of the contract is published and listed; one outside of the outputs is not seen', async () => {
    const script = `echo '${RTTM_LINE}' >"$2"; echo x >"\${2%/raw/*}/notes.txt"; echo x >"\${2%/out/*}/stray" || true`;
    const command = ['sh', '-c', script, 'model', '{input}', '{output}'];
    assert.equal((await store.pod(aRequest({ command })).run()).code, EXIT.ok);
    const manifest = JSON.parse(await store.text('outputs/result/manifest.json'));
    assert.deepEqual(manifest.extra, { count: 1, paths: ['notes.txt'] });
    await assert.rejects(stat(store.path('outputs/result/stray')), { code: 'ENOENT' });
  });
});
