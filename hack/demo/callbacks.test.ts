import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { callbackDifferences } from './callbacks.ts';

describe('what the receiver of callbacks took', () => {
  const expect = { phase: 'Succeeded', results: [], failed: [] } as const;
  const event = (word: string, name = 'task') => ({
    id: word,
    type: `dev.elsi.analysis.task.${word}`,
    sequence: '1',
    data: { task: { name } },
  });
  const table = {
    'is right with a start and its end': [['started', 'succeeded'], 0],
    'is right with the end alone': [['succeeded'], 0],
    'is wrong with the start alone': [['started'], 1],
    'is wrong with another end': [['started', 'failed'], 1],
    'is wrong in another order': [['succeeded', 'started'], 1],
  } as const;
  for (const [sentence, [words, problems]] of Object.entries(table))
    it(sentence, () => {
      const events = [event('failed', 'another'), ...words.map((word) => event(word))];
      assert.equal(callbackDifferences({ name: 'task', expect }, events).length, problems);
    });
});
