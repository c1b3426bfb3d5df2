import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type StagingEntry, sweepRequest } from '../../../api/store.ts';
import type { Phase } from '../../../api/task.ts';
import { silentLog } from '../../../controller/log.ts';
import { systemClock } from '../../../controller/clock.ts';
import type { KubeObject } from '../../../controller/resources.ts';
import { aTask } from '../../../jobs/testing/fixtures.ts';
import { doomed, type StagingSweepDeps, sweepRound } from './staging-sweep.ts';
import { StoreError } from './client.ts';

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

describe('sweepRound()', () => {
  const GONE = { dataset: 'lab/corpus', name: 'uid-1', idleSeconds: 30 * DAY, swept: false };

  /** Stores whose agents answer from here: the real client has tests of its own. */
  function aRound(
    stores: Readonly<Record<string, readonly StagingEntry[] | 'down'>>,
    items: readonly KubeObject[] = [],
  ) {
    const done: string[] = [];
    const client: StagingSweepDeps['client'] = {
      ask: async (namespace, question, { body, answer }) => {
        done.push(`${question} ${namespace}`);
        const entries = stores[namespace];
        if (entries === 'down') throw new StoreError('agent', 'down');
        if (question === 'staging') return answer.parse({ v: 1, entries, complete: true });
        return answer.parse({ v: 1, removed: sweepRequest.parse(body).remove.length, kept: [] });
      },
    };
    const tasks: StagingSweepDeps['tasks'] = {
      async *pages() {
        done.push('list tasks');
        yield { items: [...items], resourceVersion: '1' };
      },
    };
    const deps: StagingSweepDeps = {
      client,
      tasks,
      watched: [undefined],
      stores: () => Object.keys(stores),
      hasLivePod: () => false,
      policy: { settledSeconds: HOUR, unknownSeconds: DAY },
      intervalMs: HOUR,
      clock: systemClock,
      log: silentLog,
    };
    return { done, run: () => sweepRound(deps, new AbortController().signal) };
  }

  it('lists the tasks once, after the directories of all stores', async () => {
    const { done, run } = aRound({ a: [GONE], b: [GONE], c: [] });
    await run();
    assert.deepEqual(done, ['staging a', 'staging b', 'staging c', 'list tasks', 'sweep a', 'sweep b']);
  });

  it('lists no tasks when there is no staging', async () => {
    const { done, run } = aRound({ a: [] });
    await run();
    assert.deepEqual(done, ['staging a']);
  });

  const retry = (phase: Phase, uid: string): KubeObject => {
    const settled = phase === 'Failed';
    const task = aTask(
      { retryOf: 'night-0' },
      { phase, settled, retryOf: { uid: GONE.name, identity: GONE.name } },
    );
    return { ...task, metadata: { ...task.metadata, uid } };
  };

  it('keeps the staging of a task that another one retries, although it is deleted', async () => {
    const { done, run } = aRound({ a: [GONE] }, [retry('Failed', 'x'), retry('Running', 'y')]);
    await run();
    assert.deepEqual(done, ['staging a', 'list tasks']);
  });

  it('removes it when that retry has ended', async () => {
    const { done, run } = aRound({ a: [GONE] }, [retry('Failed', 'x')]);
    await run();
    assert.deepEqual(done, ['staging a', 'list tasks', 'sweep a']);
  });

  it('goes on with the other stores when one cannot be asked', async () => {
    const { done, run } = aRound({ a: 'down', b: [GONE] });
    await run();
    assert.deepEqual(done, ['staging a', 'staging b', 'list tasks', 'sweep b']);
  });
});
