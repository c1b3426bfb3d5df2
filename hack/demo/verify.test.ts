import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Recording } from './dataset.ts';
import type { Seen } from './observe.ts';
import { demoTasks, type DemoTask } from './tasks.ts';
import { outputFile, statusDifferences, transcriptProblem, turnsProblem } from './verify.ts';

const good: Recording = {
  path: 'adult-2/day-1/address.wav',
  speaker: 'adult-2',
  day: '2025-03-03',
  speech: 'address',
  hears: 'country',
};
const cut: Recording = { ...good, path: 'adult-3/day-1/battery died.wav', broken: true };
const tasks = demoTasks(7, [good, cut]);

function task(phase: string): DemoTask {
  const found = tasks.find(({ expect }) => expect.phase === phase);
  assert.ok(found);
  return found;
}

const seen = (status: Seen['status']): Seen => ({ name: 'x', model: 'm', created: 0, status });

describe('statusDifferences', () => {
  const table: Record<string, { task: DemoTask; status: Seen['status']; problems: RegExp[] }> = {
    'finds nothing wrong with a task that succeeded': {
      task: task('Succeeded'),
      status: { phase: 'Succeeded' },
      problems: [],
    },
    'names the phase, the reason and the message of a task that failed': {
      task: task('Succeeded'),
      status: { phase: 'Failed', reason: 'ModelError', message: 'exit 1' },
      problems: [/Failed \(ModelError: exit 1\) instead of Succeeded/],
    },
    'wants the broken recording named': {
      task: task('PartiallySucceeded'),
      status: { phase: 'PartiallySucceeded', failedUnits: ['adult-2/day-1/address.wav: is odd'] },
      problems: [/battery died/],
    },
    'accepts a broken recording that is named': {
      task: task('PartiallySucceeded'),
      status: { phase: 'PartiallySucceeded', failedUnits: ['adult-3/day-1/battery died.wav: is truncated'] },
      problems: [],
    },
    'wants the reason of a task that waits': {
      task: task('Pending'),
      status: { phase: 'Pending', reason: 'Unschedulable', message: 'no node' },
      problems: [/reason is Unschedulable/, /does not name voice-type-classifier-9/],
    },
  };
  for (const [name, { task: given, status, problems }] of Object.entries(table)) {
    it(name, () => {
      const found = statusDifferences(given, seen(status));
      assert.equal(found.length, problems.length, found.join('\n'));
      for (const [index, pattern] of problems.entries()) assert.match(found[index] ?? '', pattern);
    });
  }
});

describe('demoTasks', () => {
  it('gives every run its own names', () => {
    const names = [...tasks, ...demoTasks(8, [good, cut])].map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });

  it('expects results of whole recordings only', () => {
    assert.deepEqual(task('PartiallySucceeded').expect.results, [good]);
    assert.deepEqual(task('PartiallySucceeded').expect.failed, [cut]);
  });
});

const spoken = (text: string) =>
  JSON.stringify({ duration: 1, segments: text === '' ? [] : [{ start: 0, end: 1, text, words: [] }] });

describe('the readers of outputs', () => {
  it('know where a recording becomes a result', () => {
    assert.equal(outputFile('silero-vad-6-2-3', good), 'raw/adult-2/day-1/address.rttm');
    assert.equal(outputFile('pocketsphinx-5-1-1', good), 'raw/adult-2/day-1/address.json');
  });

  it('refuse an RTTM file without turns and one with a broken line', () => {
    assert.equal(turnsProblem('SPEAKER a 1 0.100 2.000 <NA> <NA> SPEECH <NA> <NA>\n'), undefined);
    assert.match(turnsProblem('') ?? '', /no speech turn/);
    assert.match(turnsProblem('SPEAKER a 1 0.100\n') ?? '', /has the line/);
  });

  it('refuse a transcript without the word that is said', () => {
    assert.equal(transcriptProblem(spoken('for your country'), good), undefined);
    assert.match(transcriptProblem(spoken('for your county'), good) ?? '', /"country"/);
    assert.match(transcriptProblem(spoken(''), good) ?? '', /no words/);
    assert.match(transcriptProblem('[]', good) ?? '', /not a transcript/);
  });
});
