import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { TaskStatus } from '../api/task.ts';
import { aRun, estimated, retrying, running, succeeded, waiting } from './testing/fixtures.ts';
import { estimatedSeconds } from './verdict.ts';

describe('estimatedSeconds()', () => {
  const rows: Readonly<Record<string, readonly [status: TaskStatus, seconds: number | undefined]>> = {
    'is unknown while nothing runs': [waiting, undefined],
    'is unknown while nothing tells': [running, undefined],
    'is told from the start on, when the speed of the model is known': [estimated, 600],
    'is unknown again between two attempts': [retrying, undefined],
    'is what it took, at the end': [succeeded, 1800],
  };
  for (const [name, [status, seconds]] of Object.entries(rows))
    it(name, () => assert.equal(estimatedSeconds(aRun({ status })), seconds));
});
