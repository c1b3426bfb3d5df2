import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { MODEL_LOOP, planLine, quoteShell } from './loop.ts';

/** Every POSIX shell at hand: the system's own, and others that images bring. */
const SHELLS = [['/bin/sh'], ['/bin/dash'], ['/bin/bash', '--posix'], ['/bin/busybox', 'sh']].filter(
  ([path]) => existsSync(path ?? ''),
);

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (isSo()) return;
    // oxlint-disable-next-line no-await-in-loop -- waiting for another process
    await sleep(10);
  }
  assert.fail(`waited in vain: ${what}`);
}

describe('quoteShell()', () => {
  it('survives a real sh byte for byte', () => {
    const argument = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({
        unit: fc.constantFrom("'", '"', '$', '`', '\\', '\n', '-', ' ', '*', '!', '\u0081', '\u00c1'),
      }),
    );
    const argv = fc.array(
      argument.map((text) => text.replaceAll('\0', '')),
      { minLength: 1, maxLength: 20 },
    );
    fc.assert(
      fc.property(argv, (list) => {
        const script = `printf '%s\\0' ${list.map(quoteShell).join(' ')}`;
        const seen = execFileSync('/bin/sh', ['-c', script]);
        assert.deepEqual(seen, Buffer.from(list.map((text) => `${text}\0`).join('')));
      }),
      { numRuns: 60 },
    );
  });
});

for (const shell of SHELLS) {
  describe(`MODEL_LOOP in ${shell.join(' ')}`, () => {
    let control: string;
    const file = (name: string): string => join(control, name);
    const text = (name: string): string => readFileSync(file(name), 'utf8');
    const plan = (...lines: readonly (readonly [id: string, ...argv: string[]])[]): void => {
      writeFileSync(file('plan.sh'), lines.map(([id, ...argv]) => planLine(id, argv)).join(''));
    };
    const start = (env: Record<string, string> = {}): ReturnType<typeof spawn> => {
      const [command = '', ...args] = shell;
      return spawn(command, [...args, '-c', MODEL_LOOP, 'analysis-loop', control], {
        stdio: 'ignore',
        env: { ...process.env, ...env },
      });
    };
    const run = async (env?: Record<string, string>): Promise<unknown> => (await once(start(env), 'exit'))[0];

    beforeEach(() => {
      control = mkdtempSync(join(tmpdir(), 'loop-'));
    });
    afterEach(() => rmSync(control, { recursive: true }));

    it('records each exit code, goes on after a failure and exits 0', async () => {
      plan(
        ['a', 'true'],
        ['b', 'sh', '-c', 'exit 7'],
        ['c', 'no-such-command'],
        ['d', 'sh', '-c', 'kill -9 $$'],
        ['e', 'true'],
      );
      assert.equal(await run(), 0);
      const codes = ['a', 'b', 'c', 'd', 'e'].map((id) => text(`${id}.exit`));
      assert.deepEqual(codes, ['0\n', '7\n', '127\n', '137\n', '0\n']);
    });

    it('runs nothing twice', async () => {
      const count = ['sh', '-c', 'echo x >>"$1"', 'sh', file('count')] as const;
      plan(['a', ...count], ['b', ...count]);
      await run();
      await run();
      assert.equal(text('count'), 'x\nx\n');
      assert.equal(text('a.start'), 'started\n');
    });

    it('marks the start before the model runs, and the end after it', async () => {
      plan(['a', 'sh', '-c', 'ls "$1" >"$1/seen"', 'sh', control]);
      await run();
      assert.ok(text('seen').includes('a.start'));
      assert.ok(!text('seen').includes('a.exit'));
    });

    it('gives the model nothing to read, so that it cannot swallow the plan', async () => {
      plan(['a', 'sh', '-c', 'cat >"$1"', 'sh', file('stdin')], ['b', 'true']);
      await run();
      assert.equal(text('stdin'), '');
      assert.equal(text('b.exit'), '0\n');
    });

    it('passes arguments untouched', async () => {
      const args = ["it's", '$(touch hacked)', '-n', '', 'a\nb', '`id`', '*', 'ä 子'];
      plan(['a', 'sh', '-c', 'out=$1; shift; printf "%s|" "$@" >"$out"', 'sh', file('args'), ...args]);
      await run();
      assert.equal(text('args'), args.map((arg) => `${arg}|`).join(''));
    });

    it('passes SIGTERM on, waits, leaves no end and takes its start back', async () => {
      const patient = `trap 'echo stopped >"$1/stopped"; exit 0' TERM; : >"$1/ready"; while :; do sleep 0.05; done`;
      plan(['a', 'sh', '-c', patient, 'sh', control], ['b', 'true']);
      const child = start();
      await until('the model runs', () => existsSync(file('ready')));
      child.kill('SIGTERM');
      assert.deepEqual(await once(child, 'exit'), [143, null]);
      assert.equal(text('stopped'), 'stopped\n');
      assert.equal(text('a.start'), '');
      assert.deepEqual(
        readdirSync(control).filter((name) => name.startsWith('b') || name.endsWith('.exit')),
        [],
      );
    });

    it('passes SIGTERM on however early it comes', async () => {
      const hasty = `trap 'echo stopped >"$1/stopped"; exit 0' TERM; kill -TERM "$PPID"; while :; do sleep 0.01; done`;
      for (let turn = 0; turn < 10; turn++) {
        plan(['a', 'sh', '-c', hasty, 'sh', control]);
        // oxlint-disable-next-line no-await-in-loop -- one loop at a time has this directory
        assert.equal(await run(), 143);
        assert.equal(text('stopped'), 'stopped\n', `turn ${turn}`);
        rmSync(file('stopped'));
      }
    });

    it('notes the GPU that the runtime assigned', async () => {
      plan();
      await run({ NVIDIA_VISIBLE_DEVICES: 'GPU-1' });
      assert.equal(text('gpu'), 'GPU-1\n');
    });

    it('counts a command that was killed together with the loop as started and not ended', async () => {
      plan(['a', 'sh', '-c', 'kill -9 $PPID', 'sh']);
      await run();
      assert.equal(text('a.start'), 'started\n');
      assert.ok(!existsSync(file('a.exit')));
    });
  });
}
