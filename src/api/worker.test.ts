import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { workerDataset, workerNames } from './worker.ts';

const TASK = '11111111-2222-3333-4444-555555555555';
const ELSI = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
const DATASET = '0a0b0c0d-1111-2222-3333-444444444444';

describe('the names of a worker', () => {
  const rows: Readonly<
    Record<string, readonly [identity: string, path: string, task: string, dataset: string]>
  > = {
    "are the task's own": [TASK, 'lab 1/corpus', TASK, TASK],
    'are those of ELSI where there are any': [`elsi:${ELSI}`, `lab/name_${DATASET}`, ELSI, DATASET],
    'are in small letters, as workers write UUIDs': [
      `elsi:${ELSI.toUpperCase()}`,
      DATASET.toUpperCase(),
      ELSI,
      DATASET,
    ],
    'come from the end of the path only': [TASK, `${DATASET}/corpus`, TASK, TASK],
  };
  for (const [title, [identity, datasetPath, task, dataset]] of Object.entries(rows))
    it(title, () => {
      const source = { identity, taskUid: TASK, datasetPath };
      assert.deepEqual(workerNames(source), { task, dataset });
      assert.equal(workerDataset(source), `/app/datasets/${dataset}`);
    });
});
