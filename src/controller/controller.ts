import type { Clock } from './clock.ts';
import { reasonOf, systemClock } from './clock.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import type { Metrics, ReconcileResult } from './metrics.ts';
import type { KeyedQueue } from './queue.ts';
import type { Report, Settled } from './settle.ts';
import { messageOf, settle as settleError } from './settle.ts';

export interface ReconcileOutcome {
  /** Look again after this time even if nothing changes. */
  readonly requeueAfterMs?: number | undefined;
}

/** Brings the world of one key a step nearer to what it should be. Must stop soon after `signal` aborts. */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileOutcome>;

export interface ControllerOptions {
  readonly name: string;
  readonly queue: KeyedQueue;
  /** Keys in work at once. @default 8 */
  readonly workers?: number;
  readonly reconcile: Reconcile;
  /** Error to queue decision. @default settle of settle.ts */
  readonly settle?: (error: unknown) => Settled;
  /** Tells a person about a failure, e.g. as a condition; its own failures are only logged. */
  readonly report?: (key: string, report: Report, signal: AbortSignal) => Promise<void>;
  /** Longest reconcile before its signal aborts. @default 120 000 */
  readonly timeoutMs?: number;
  /** How long keys in work may go on after `signal` aborts. @default 10 000 */
  readonly graceMs?: number;
  /** Aborts everything in work at once: leadership is lost. */
  readonly fence?: AbortSignal;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly metrics?: Metrics | undefined;
}

/** Works on the queue's keys until `signal` or `fence` aborts; resolves when the last reconcile has returned. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { queue, workers = 8, graceMs = 10_000, fence, clock = systemClock } = options;
  const cut = new AbortController();
  const onFence = (): void => cut.abort(fence ? reasonOf(fence) : undefined);
  const stopped = whenAborted(fence ? [signal, fence] : [signal]);
  if (fence?.aborted) onFence();
  fence?.addEventListener('abort', onFence, { once: true });
  const running = Array.from({ length: workers }, () => work(options, cut.signal));

  await stopped;
  const drained = queue.shutdown();
  const grace = clock.setTimeout(
    () => cut.abort(new DOMException(`not finished within ${graceMs} ms of the shutdown`, 'AbortError')),
    graceMs,
  );
  await Promise.all([drained, ...running]);
  grace.cancel();
  fence?.removeEventListener('abort', onFence);
}

function whenAborted(signals: readonly AbortSignal[]): Promise<void> {
  if (signals.some(({ aborted }) => aborted)) return Promise.resolve();
  return new Promise((resolve) => {
    for (const signal of signals) signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function work(options: ControllerOptions, cut: AbortSignal): Promise<void> {
  const { queue } = options;
  for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
    try {
      await reconcileOnce(options, key, cut);
    } finally {
      queue.done(key);
    }
  }
}

async function reconcileOnce(options: ControllerOptions, key: string, cut: AbortSignal): Promise<void> {
  const { name, reconcile, timeoutMs = 120_000, clock = systemClock, metrics } = options;
  const startedMs = clock.monotonicMs();
  const one = new AbortController();
  const onCut = (): void => one.abort(reasonOf(cut));
  if (cut.aborted) onCut();
  cut.addEventListener('abort', onCut, { once: true });
  const timer = clock.setTimeout(
    () => one.abort(new DOMException(`not finished within ${timeoutMs} ms`, 'TimeoutError')),
    timeoutMs,
  );
  let result: ReconcileResult;
  try {
    result = succeeded(options, key, await reconcile(key, one.signal));
  } catch (error) {
    result = await failed(options, { key, error }, one.signal);
  } finally {
    timer.cancel();
    cut.removeEventListener('abort', onCut);
  }
  metrics?.reconciled(name, result, (clock.monotonicMs() - startedMs) / 1000);
}

function succeeded(
  { queue }: ControllerOptions,
  key: string,
  { requeueAfterMs }: ReconcileOutcome,
): ReconcileResult {
  queue.forget(key);
  if (requeueAfterMs === undefined) return 'success';
  queue.addAfter(key, requeueAfterMs);
  return 'requeue_after';
}

interface Failure {
  readonly key: string;
  readonly error: unknown;
}

async function failed(
  options: ControllerOptions,
  failure: Failure,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const { queue, settle = settleError, log = silentLog } = options;
  const { key, error } = failure;
  const { next, report } = settle(error);
  if (report) await tell(options, key, report, signal);
  switch (next.do) {
    case 'after':
      log.debug('Waiting', { controller: options.name, key, why: messageOf(error), ms: next.ms });
      queue.forget(key);
      queue.addAfter(key, next.ms);
      return 'requeue_after';
    case 'rest':
      log.info('Giving up until it changes', { controller: options.name, key, error });
      queue.forget(key);
      return 'error';
    case 'backoff': {
      const ms = queue.addRateLimited(key);
      if (report)
        log.error('Reconcile failed', { controller: options.name, key, error, retryInMs: Math.round(ms) });
      else log.debug('Reconcile will be repeated', { controller: options.name, key, error });
      return report ? 'error' : 'requeue';
    }
  }
}

async function tell(
  { report: tellUser, name, log = silentLog }: ControllerOptions,
  ...[key, report, signal]: TellArguments
): Promise<void> {
  try {
    await tellUser?.(key, report, signal);
  } catch (error) {
    log.warn('Cannot report a failure', { controller: name, key, error });
  }
}

type TellArguments = readonly [key: string, report: Report, signal: AbortSignal];
