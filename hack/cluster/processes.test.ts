import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { endAll, identify, isAlive, processTable, signal, startTimeOf } from './processes.ts';
import { waitFor } from './wait.ts';

const stat = (name: string, state: string): string =>
  `42 (${name}) ${state} 1 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 777 1000 1 0`;

describe('processes', () => {
  let dir = '';
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'processes-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  it('finds the start time behind names with blanks and brackets', () => {
    assert.equal(startTimeOf(stat('sh', 'S')), '777');
    assert.equal(startTimeOf(stat('a) R (b', 'S')), '777');
  });

  it('takes a pid with another start time, a zombie or no process for dead', async () => {
    const proc = join(dir, '42');
    assert.equal(isAlive({ pid: 42, startTime: '777' }, dir), false);
    await mkdir(proc);
    await writeFile(join(proc, 'stat'), stat('sh', 'S'));
    assert.equal(isAlive({ pid: 42, startTime: '777' }, dir), true);
    assert.equal(isAlive({ pid: 42, startTime: '778' }, dir), false);
    await writeFile(join(proc, 'stat'), stat('sh', 'Z'));
    assert.equal(isAlive({ pid: 42, startTime: '777' }, dir), false);
  });

  it('never signals a process that merely has the pid of an old one', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const id = identify(child.pid ?? 0);
    assert.ok(id);
    signal({ ...id, startTime: '1' }, 'SIGKILL');
    assert.equal(isAlive(id), true);
    await endAll([id], 2000);
    assert.equal(isAlive(id), false);
  });

  it('identifies itself', () => {
    const id = identify(process.pid);
    assert.ok(id);
    assert.equal(isAlive(id), true);
  });

  it('starts once, starts again after a crash, restarts on new arguments and stops for good', async () => {
    const table = processTable(join(dir, 'run'), join(dir, 'logs'));
    const spec = { name: 'sleeper', command: '/bin/sleep', args: ['61'] };
    const child = async (): Promise<string> => readFile(join(dir, 'run/sleeper.child'), 'utf8');
    assert.equal(await table.ensure(spec), 'started');
    await waitFor('the child is recorded', async () => (await child()) !== '', { limitMs: 5000 });
    const first = await child();
    assert.equal(await table.ensure(spec), 'running');
    process.kill(Number(first.split(' ')[0]), 'SIGKILL');
    await waitFor('another child runs', async () => (await child()) !== first, { limitMs: 5000 });
    assert.equal(await table.ensure({ ...spec, args: ['62'] }), 'restarted');
    assert.deepEqual(await table.names(), ['sleeper']);
    await waitFor('the new child is recorded', async () => (await child()) !== '', { limitMs: 5000 });
    const [pid = '', startTime = ''] = (await child()).trim().split(' ');
    await table.stop('sleeper');
    assert.equal(isAlive({ pid: Number(pid), startTime }), false);
    assert.equal(await table.alive('sleeper'), false);
  }).timeout(20_000);
});
