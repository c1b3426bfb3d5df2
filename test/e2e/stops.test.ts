import assert from 'node:assert/strict';
import { wav } from '../../src/agent/testing/fixtures.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import type { TaskStatus } from '../../src/api/task.ts';
import { eventually } from '../support/eventually.ts';
import { atOnce, type Scenarios } from './support/at-once.ts';
import { heldAfterReport, heldBeforeRename, type Held, passDeadline } from './support/halts.ts';
import { endOf, settled, staging } from './support/oracle.ts';
import { askedToEnd, go, PROCESS, processesOf, signalWhenStarted } from './support/processes.ts';
import { fileModel, openGate, patchTask, podOf, wholeModel } from './support/scripts.ts';
import { TASKS } from './support/site.ts';
import { dataset, podsOf, task, until } from './support/work.ts';

const grace = (seconds: number) => ({ run: { terminationGracePeriodSeconds: seconds } });
const SOON = grace(5);
const LATE = grace(60);

async function cancelHeld({ name, pid }: Held, desired = 'Cancel'): Promise<void> {
  await patchTask(name, { desired });
  await askedToEnd(pid);
}

async function expireHeld({ pod, pid }: Held): Promise<void> {
  await passDeadline(pod);
  await askedToEnd(pid);
}

/** One attempt, one pod, and the volume agrees (see settled). */
async function ends(name: string, end: string, how?: Parameters<typeof settled>[2]): Promise<TaskStatus> {
  const { status, task: found } = await settled(name, TASKS, how);
  assert.equal(endOf(status), end, status.message);
  assert.equal(status.attempt?.number, 1);
  assert.ok((await podsOf(found.metadata.uid)).length <= 1);
  return status;
}

const STOPPED: Scenarios = {
  'cancelled, and publish ends within its grace: the result stands, and the task has succeeded': async () => {
    const held = await heldBeforeRename('cancel-late', LATE);
    await cancelHeld(held);
    go(held.pid);
    await ends(held.name, 'Succeeded/Published');
  },
  'suspended, and publish ends within its grace: the result stands, and nothing runs again': async () => {
    const held = await heldBeforeRename('suspend-late', LATE);
    await cancelHeld(held, 'Suspend');
    go(held.pid);
    await ends(held.name, 'Succeeded/Published');
    await patchTask(held.name, { desired: 'Run' });
    await ends(held.name, 'Succeeded/Published');
  },
  'cancelled, and publish is killed before its rename: Cancelled, and nothing is there': async () => {
    const held = await heldBeforeRename('cancel-early', SOON);
    await cancelHeld(held);
    await ends(held.name, 'Cancelled/Cancelled');
  },
  'cancelled, and publish is killed after its report: the result stands, and the task has succeeded':
    async () => {
      const held = await heldAfterReport('cancel-reported', SOON);
      await cancelHeld(held);
      await ends(held.name, 'Succeeded/Published', { untidy: true });
    },
};

const OUT_OF_TIME: Scenarios = {
  'while the model runs: DeadlineExceeded, and nothing is there': async () => {
    const name = 'late-model';
    await dataset(name, { 'a.wav': wav() });
    const model = await wholeModel(name, 'good "$2/raw/a.rttm"; trap "" TERM; gate never', {
      run: { terminationGracePeriodSeconds: 1 },
    });
    await task(name, { model, dataset: { path: name } });
    await until(name, 'Running', ({ phase }) => phase === 'Running');
    await passDeadline((await podOf(name)).metadata.name);
    const { message } = await ends(name, 'Failed/DeadlineExceeded');
    assert.match(message ?? '', /runDeadlineSeconds/);
  },
  'while publish works, and it ends within its grace: the task has succeeded': async () => {
    const held = await heldBeforeRename('late-publish', LATE);
    await expireHeld(held);
    go(held.pid);
    await ends(held.name, 'Succeeded/Published');
  },
  'while publish works, and it is killed before its rename: DeadlineExceeded, and nothing is there':
    async () => {
      const held = await heldBeforeRename('late-killed', SOON);
      await expireHeld(held);
      await ends(held.name, 'Failed/DeadlineExceeded');
    },
  'while publish works, and it is killed after its report: the task has succeeded': async () => {
    const held = await heldAfterReport('late-reported', SOON);
    await expireHeld(held);
    await ends(held.name, 'Succeeded/Published', { untidy: true });
  },
};

const twice = { failure: { maxAttempts: 2, backoffSeconds: 0 } };

/** The second attempt brings the task to its end, and the first one is told for what it was. */
async function repeats(name: string, category: string, message: RegExp): Promise<void> {
  const { status, manifest } = await settled(name);
  assert.equal(endOf(status), 'Succeeded/Published', status.message);
  assert.deepEqual([status.attempt?.number, manifest?.attempt], [2, 2]);
  assert.equal(status.failures?.[0]?.category, category);
  assert.match(status.failures?.[0]?.message ?? '', message);
}

async function started(name: string, model: string, files: readonly string[] = ['a.wav']): Promise<string> {
  await dataset(name, Object.fromEntries(files.map((file) => [file, wav()])));
  await task(name, { model, dataset: { path: name } });
  return (await podOf(name)).metadata.uid;
}

const KILLED: Scenarios = {
  'prepare: AgentError, and another attempt': async () => {
    const name = 'kill-prepare';
    // Annotations are read to their end, which gives time to catch it.
    const long = Buffer.from(`segment_onset,segment_offset\n${'0,1\n'.repeat(2_000_000)}`);
    await dataset(name, { 'a.csv': long });
    const inputs: ModelSpecInput['inputs'] = { include: ['**/*.csv'], effort: 'AnnotatedSeconds' };
    await task(name, {
      model: await fileModel(name, 'good "$2"', { ...twice, inputs }),
      dataset: { path: name },
    });
    const { metadata } = await podOf(name);
    await signalWhenStarted(metadata.uid, PROCESS.prepare, 'SIGKILL');
    await repeats(name, 'AgentError', /^prepare ended with exit code 137/);
  },
  'publish: AgentError, and another attempt': async () => {
    const { name, pid } = await heldBeforeRename('kill-publish', twice);
    process.kill(pid, 'SIGKILL');
    await repeats(name, 'AgentError', /^publish ended with exit code 137/);
  },
  'observe: it is started again, and the attempt goes on': async () => {
    const name = 'kill-observe';
    const pod = await started(name, await fileModel(name, 'gate go; good "$2"'));
    await until(name, 'Running', ({ phase }) => phase === 'Running');
    const killed = await signalWhenStarted(pod, PROCESS.observe, 'SIGKILL');
    const isOther = (pid: number): boolean => pid !== killed;
    await eventually('observe is back', () => processesOf(pod, PROCESS.observe).find(isOther), 60_000);
    await openGate(name, 'go');
    await ends(name, 'Succeeded/Published');
  },
  'the loop around the model: as if for memory, and the next attempt keeps finished units': async () => {
    const name = 'kill-loop';
    const script = 'case $1 in *b.wav) gate go;; esac; good "$2"';
    const pod = await started(name, await fileModel(name, script, twice), ['a.wav', 'b.wav']);
    await until(name, 'one unit done', ({ progress }) => progress?.unitsDone === 1);
    await signalWhenStarted(pod, PROCESS.loop, 'SIGKILL');
    await openGate(name, 'go');
    await repeats(name, 'OutOfMemory', /resources\.memory/);
    const { manifest, task: ended } = await settled(name);
    assert.deepEqual(
      manifest?.units.map(({ outcome }) => outcome),
      ['Reused', 'Done'],
    );
    assert.deepEqual(await staging(ended), []);
  },
};

atOnce('a pod that ends before its time', {
  'G12 a task is stopped while publish is at work': STOPPED,
  'G14 the run deadline passes': OUT_OF_TIME,
  "G13 a process of the task's pod is killed": KILLED,
});
