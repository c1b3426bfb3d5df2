import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { StagingEntry } from '../../api/store.ts';
import { doomed } from './staging-sweep.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;

const entry = (changes: Partial<StagingEntry> = {}): StagingEntry => ({
  dataset: 'lab/corpus',
  name: 'uid-1',
  idleSeconds: 30 * DAY,
  swept: false,
  ...changes,
});

describe('doomed()', () => {
  const rows: Record<
    string,
    {
      given?: Partial<StagingEntry>;
      settled?: boolean;
      livePod?: true;
      unknownSeconds?: number;
      expected: number | undefined;
    }
  > = {
    'removes staging of a settled task': { settled: true, expected: HOUR },
    'keeps staging of a task that is not settled, however old': { settled: false, expected: undefined },
    'keeps staging of a settled task that was written to a moment ago': {
      settled: true,
      given: { idleSeconds: HOUR - 1 },
      expected: undefined,
    },
    'keeps staging of a settled task with a pod that may still run': {
      settled: true,
      livePod: true,
      expected: undefined,
    },
    'removes staging of an unknown task after a week': { expected: 7 * DAY },
    'keeps staging of an unknown task for a week': {
      given: { idleSeconds: 7 * DAY - 1 },
      expected: undefined,
    },
    'keeps staging of an unknown task with a pod': { livePod: true, expected: undefined },
    'keeps staging of unknown tasks for ever where clusters share a volume': {
      unknownSeconds: 0,
      expected: undefined,
    },
    'removes what an interrupted sweep left at once': {
      given: { name: '.swept-uid-1-0123abcd', swept: true, idleSeconds: 0 },
      expected: 0,
    },
  };
  for (const [name, { given, settled, livePod, unknownSeconds = 7 * DAY, expected }] of Object.entries(
    rows,
  )) {
    it(name, () => {
      const one = entry(given);
      const remove = doomed([one], {
        tasks: new Map(settled === undefined ? [] : [[one.name, settled]]),
        hasLivePod: () => livePod === true,
        policy: { settledSeconds: HOUR, unknownSeconds },
      });
      const { dataset, name: uid } = one;
      assert.deepEqual(
        remove,
        expected === undefined ? [] : [{ dataset, name: uid, minIdleSeconds: expected }],
      );
    });
  }
});
