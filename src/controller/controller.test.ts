import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ApiError } from './api-error.ts';
import type { ControllerOptions } from './controller.ts';
import { runController } from './controller.ts';
import { LeadershipLostError } from './leader.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import { createMetrics } from './metrics.ts';
import { KeyedQueue } from './queue.ts';
import { TerminalError, WaitError } from './settle.ts';
import { createManualClock, settleTasks } from './testing/manual-clock.ts';

function aController(reconcile: ControllerOptions['reconcile'], more: Partial<ControllerOptions> = {}) {
  const clock = createManualClock();
  const metrics = createMetrics();
  const queue = new KeyedQueue({
    clock,
    random: () => 0,
    backoff: { baseMs: 100, maxMs: 1000 },
    metrics: metrics.queue('task'),
  });
  const stop = new AbortController();
  const logged: string[] = [];
  const note = (level: string) => (message: string) => void logged.push(`${level} ${message}`);
  const log: Log = {
    ...silentLog,
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    child: () => log,
  };
  const ended = runController(
    { name: 'task', queue, reconcile, clock, metrics, log, workers: 2, ...more },
    stop.signal,
  );
  return { clock, queue, stop, ended, logged, metrics };
}

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));

describe('runController()', () => {
  const failures: Record<
    string,
    { error: unknown; againMs: number | undefined; logged: string[]; told: string[] }
  > = {
    'waits as long as a WaitError says': {
      error: new WaitError('Queued', 'Waits', 700),
      againMs: 700,
      logged: [],
      told: ['Queued'],
    },
    'rests after a TerminalError': {
      error: new TerminalError('Bad', 'Bad input'),
      againMs: undefined,
      logged: ['info Giving up until it changes'],
      told: ['Bad'],
    },
    'repeats a conflict silently': {
      error: new ApiError({ method: 'PUT', path: '/x', code: 409, reason: 'Conflict' }),
      againMs: 100,
      logged: [],
      told: [],
    },
    'repeats and reports a bug once per try': {
      error: new Error('bug'),
      againMs: 100,
      logged: ['error Reconcile failed'],
      told: ['ReconcileFailed'],
    },
  };
  for (const [name, { error, againMs, logged: expected, told }] of Object.entries(failures)) {
    it(name, async () => {
      let calls = 0;
      const reports: string[] = [];
      const { clock, queue, stop, ended, logged } = aController(
        async () => {
          if (calls++ === 0) throw error;
          return {};
        },
        { report: async (_key, { reason }) => void reports.push(reason) },
      );
      queue.add('a');
      await settleTasks();
      assert.deepEqual([logged, reports], [expected, told]);
      await clock.advance((againMs ?? 100_000) - 1);
      assert.equal(calls, 1);
      await clock.advance(1);
      assert.equal(calls, againMs === undefined ? 1 : 2);
      assert.equal(queue.failures('a'), 0);
      stop.abort();
      await ended;
    });
  }

  it('looks again after requeueAfterMs', async () => {
    let calls = 0;
    const { clock, queue, stop, ended } = aController(async () =>
      calls++ === 0 ? { requeueAfterMs: 5_000 } : {},
    );
    queue.add('a');
    await clock.advance(4_999);
    assert.equal(calls, 1);
    await clock.advance(1);
    assert.equal(calls, 2);
    stop.abort();
    await ended;
  });

  it('runs as many keys at once as there are workers, and one key only once', async () => {
    let most = 0;
    const now = new Set<string>();
    const { clock, queue, stop, ended } = aController(async (key) => {
      assert.ok(!now.has(key));
      now.add(key);
      most = Math.max(most, now.size);
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 10));
      now.delete(key);
      return {};
    });
    for (let round = 0; round < 3; round++) {
      for (const key of ['a', 'b', 'c']) queue.add(key);
      await clock.advance(5);
    }
    await clock.advance(100);
    assert.equal(most, 2);
    stop.abort();
    await ended;
  });

  it('aborts a reconcile at its deadline and tries again', async () => {
    let calls = 0;
    const { clock, queue, stop, ended } = aController(
      async (_key, signal) => (calls++ === 0 ? untilAborted(signal) : {}),
      {
        timeoutMs: 1_000,
      },
    );
    queue.add('a');
    await clock.advance(1_000);
    assert.equal(calls, 1);
    await clock.advance(100);
    assert.equal(calls, 2);
    stop.abort();
    await ended;
  });

  it('lets work in hand finish when stopped, within the grace', async () => {
    const aborted: unknown[] = [];
    const { clock, queue, stop, ended } = aController(
      async (_key, signal) => untilAborted(signal).catch((reason: unknown) => (aborted.push(reason), {})),
      { graceMs: 3_000 },
    );
    queue.add('a');
    await settleTasks();
    stop.abort();
    await clock.advance(2_999);
    assert.deepEqual(aborted, []);
    await clock.advance(1);
    assert.equal(aborted.length, 1);
    await ended;
  });

  it('aborts work in hand at once when the lease is lost', async () => {
    const fence = new AbortController();
    let reason: unknown;
    const { queue, ended, logged } = aController(
      async (_key, signal) =>
        untilAborted(signal).catch((why: unknown) => {
          reason = why;
          throw why;
        }),
      { fence: fence.signal },
    );
    queue.add('a');
    await settleTasks();
    fence.abort(new LeadershipLostError('lost'));
    await ended;
    assert.ok(reason instanceof LeadershipLostError);
    assert.deepEqual(logged, []);
  });

  it('goes on when a report fails', async () => {
    const { queue, stop, ended, logged } = aController(() => Promise.reject(new Error('bug')), {
      report: () => Promise.reject(new Error('no rights')),
    });
    queue.add('a');
    await settleTasks();
    assert.deepEqual(logged, ['warn Cannot report a failure', 'error Reconcile failed']);
    stop.abort();
    await ended;
  });

  it("counts under controller-runtime's and client-go's names", async () => {
    const { clock, queue, stop, ended, metrics } = aController(async (key) => {
      if (key === 'bad') throw new Error('bug');
      return {};
    });
    queue.add('good');
    queue.add('bad');
    await clock.advance(50);
    const text = await metrics.registry.metrics();
    assert.match(text, /controller_runtime_reconcile_total\{controller="task",result="success"\} 1/);
    assert.match(text, /controller_runtime_reconcile_total\{controller="task",result="error"\} 1/);
    assert.match(text, /workqueue_adds_total\{name="task"\} 2/);
    assert.match(text, /workqueue_retries_total\{name="task"\} 1/);
    assert.match(text, /workqueue_depth\{name="task"\} 0/);
    assert.match(text, /workqueue_work_duration_seconds_count\{name="task"\} 2/);
    assert.match(text, /workqueue_longest_running_processor_seconds\{name="task"\} 0/);
    stop.abort();
    await ended;
  });
});
