import { isAlreadyExists, isConflict } from './api-error.ts';
import type { CallOptions, ResourceClient } from './client.ts';
import type { Clock } from './clock.ts';
import { delay, systemClock } from './clock.ts';
import { microTimeOf } from './conditions.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { KubeObject } from './resources.ts';

export interface LeaseSpec {
  readonly holderIdentity?: string | null;
  readonly leaseDurationSeconds?: number | null;
  readonly acquireTime?: string | null;
  readonly renewTime?: string | null;
  readonly leaseTransitions?: number | null;
}

export interface Lease extends KubeObject {
  readonly spec?: LeaseSpec;
}

export interface LeaderOptions {
  /** On a pool of its own: `resourceClient<Lease>(transport, LEASES, { pool: 'lease' })`. */
  readonly client: ResourceClient<Lease>;
  readonly namespace: string;
  readonly name: string;
  /** Unique per process start, e.g. the pod's name and a random suffix. */
  readonly identity: string;
  /** Others wait this long without a renewal before they take over. @default 15 000 */
  readonly leaseDurationMs?: number;
  /** Without a renewal for this long the leader stops itself; less than the duration. @default 10 000 */
  readonly renewDeadlineMs?: number;
  /** Between two renewals; who waits for the lease asks twice as often. @default 2 000 */
  readonly retryPeriodMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly metrics?: Metrics | undefined;
  readonly random?: () => number;
}

/** Holding the lease. There is no way back after `lost`: acquire again, or better, exit. */
export interface Leadership {
  /** Aborts when a renewal is overdue or somebody else holds the lease. */
  readonly lost: AbortSignal;
  /** Whether the lease is surely ours at this very moment, judged without waiting for any timer. */
  readonly isFresh: () => boolean;
  /** Stops renewing and empties the lease, so that another process can take over at once. */
  release(): Promise<void>;
}

/** The lease is not ours any more. */
export class LeadershipLostError extends Error {
  override readonly name = 'LeadershipLostError';
}

const defaults = (options: LeaderOptions) => ({
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2_000,
  clock: systemClock,
  log: silentLog,
  random: Math.random,
  metrics: undefined,
  ...options,
});

type Settings = ReturnType<typeof defaults>;

/** The lease as we last saw it change, on our own monotonic clock; its wall-clock stamps are never compared. */
interface Observed {
  readonly version: string;
  readonly atMs: number;
}

interface Held {
  readonly lease: Lease;
  /** Before the renewing request was sent: the earliest moment from which others may count. */
  readonly renewedMs: number;
}

/** One leadership's state: the newest version of the lease that we know. */
interface Term {
  held: Held;
}

/** Waits until the lease is ours. Rejects with the signal's reason when it aborts first; no API failure ends the waiting. */
export async function acquireLeadership(options: LeaderOptions, signal: AbortSignal): Promise<Leadership> {
  const settings = defaults(options);
  const { clock, log, name, identity, retryPeriodMs } = settings;
  if (settings.renewDeadlineMs >= settings.leaseDurationMs) {
    throw new Error(
      `renewDeadlineMs (${settings.renewDeadlineMs}) must be less than leaseDurationMs (${settings.leaseDurationMs})`,
    );
  }
  settings.metrics?.leader(name, false);
  let observed: Observed | undefined;
  for (;;) {
    signal.throwIfAborted();
    try {
      const outcome = await tryAcquire(settings, observed, signal);
      if ('lease' in outcome) {
        log.info('Became leader', { lease: name, identity });
        return lead(settings, outcome);
      }
      observed = outcome;
    } catch (error) {
      signal.throwIfAborted();
      if (!isConflict(error) && !isAlreadyExists(error))
        log.warn('Cannot read or take the lease', { lease: name, error });
    }
    // Half the period: a lease that was handed back is free at once, and this wait is all that delays the takeover.
    await delay(clock, (retryPeriodMs / 2) * (0.8 + 0.2 * settings.random()), signal);
  }
}

async function tryAcquire(
  settings: Settings,
  observed: Observed | undefined,
  signal: AbortSignal,
): Promise<Held | Observed> {
  const { client, namespace, name, clock } = settings;
  const lease = await client.get({ namespace, name }, callOf(settings, signal));
  if (!lease) return create(settings, signal);
  const { resourceVersion } = lease.metadata;
  const seen =
    observed?.version === resourceVersion
      ? observed
      : { version: resourceVersion, atMs: clock.monotonicMs() };
  return isFree(lease, settings, clock.monotonicMs() - seen.atMs) ? take(settings, lease, signal) : seen;
}

/** No configuration allows more, so a longer promise is garbage: it must not keep everybody waiting for years. */
export const LONGEST_LEASE_MS = 300_000;

/** Free: empty, ours by a write whose answer was lost, or unchanged for longer than its holder promised to renew. */
function isFree({ spec = {} }: Lease, { identity, leaseDurationMs }: Settings, unchangedMs: number): boolean {
  if (!spec.holderIdentity || spec.holderIdentity === identity) return true;
  const promisedMs = (spec.leaseDurationSeconds ?? 0) * 1000 || leaseDurationMs;
  return unchangedMs > Math.min(promisedMs, LONGEST_LEASE_MS);
}

async function create(settings: Settings, signal: AbortSignal): Promise<Held> {
  const { client, namespace, name, clock } = settings;
  const renewedMs = clock.monotonicMs();
  const wanted = { metadata: { namespace, name }, spec: specOf(settings, undefined) };
  return { lease: await client.create(wanted, callOf(settings, signal)), renewedMs };
}

async function take(settings: Settings, lease: Lease, signal: AbortSignal): Promise<Held> {
  const renewedMs = settings.clock.monotonicMs();
  const wanted = { ...lease, spec: specOf(settings, lease.spec) };
  return { lease: await settings.client.replace(wanted, callOf(settings, signal)), renewedMs };
}

/** Ours from now on; fields this program does not know are kept. */
function specOf({ identity, leaseDurationMs, clock }: Settings, before: LeaseSpec | undefined): LeaseSpec {
  const now = microTimeOf(clock.now());
  const isOurs = before?.holderIdentity === identity;
  return {
    ...before,
    holderIdentity: identity,
    leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
    acquireTime: isOurs ? (before.acquireTime ?? now) : now,
    renewTime: now,
    leaseTransitions: (before?.leaseTransitions ?? 0) + (isOurs || !before ? 0 : 1),
  };
}

function lead(settings: Settings, first: Held): Leadership {
  const { clock, name, metrics, log, renewDeadlineMs } = settings;
  const lost = new AbortController();
  const stop = new AbortController();
  const term: Term = { held: first };
  const ageMs = (): number => clock.monotonicMs() - term.held.renewedMs;

  const lose = (why: string): void => {
    if (lost.signal.aborted) return;
    metrics?.leader(name, false);
    stop.abort();
    log.error('Lost leadership', { lease: name, why });
    lost.abort(new LeadershipLostError(`Lost lease "${name}": ${why}`));
  };
  const fence = (): void => {
    if (stop.signal.aborted) return;
    const leftMs = renewDeadlineMs - ageMs();
    if (leftMs <= 0) lose(overdue(settings));
    else fenceTimer = clock.setTimeout(fence, leftMs);
  };
  let fenceTimer = clock.setTimeout(fence, renewDeadlineMs - ageMs());
  const renewing = keepRenewing(settings, term, stop.signal).then(lose, () => undefined);
  metrics?.leader(name, true);

  return {
    lost: lost.signal,
    isFresh: () => !stop.signal.aborted && ageMs() < renewDeadlineMs,
    async release() {
      const wasLost = lost.signal.aborted;
      stop.abort();
      fenceTimer.cancel();
      metrics?.leader(name, false);
      await renewing;
      if (!wasLost) await empty(settings, term);
    },
  };
}

const overdue = ({ renewDeadlineMs }: Settings): string => `not renewed for ${renewDeadlineMs} ms`;

/** Renews until `stop` aborts (rejects) or another holder is seen (resolves with a sentence). */
async function keepRenewing(settings: Settings, term: Term, stop: AbortSignal): Promise<string> {
  const { clock, retryPeriodMs, renewDeadlineMs, log, name } = settings;
  for (let isSure = true; ; ) {
    await delay(clock, isSure ? retryPeriodMs : retryPeriodMs / 4, stop);
    // A process that was stopped must not carry on as if nothing had been, even if the lease is still there.
    if (clock.monotonicMs() - term.held.renewedMs >= renewDeadlineMs) return overdue(settings);
    try {
      const other = isSure ? undefined : await reread(settings, term, stop);
      if (other !== undefined) return `held by ${other}`;
      term.held = await take(settings, term.held.lease, stop);
      isSure = true;
    } catch (error) {
      stop.throwIfAborted();
      isSure = false; // the answer may be lost and the write done: only the lease itself tells
      log.warn('Cannot renew the lease', { lease: name, error });
    }
  }
}

/** Takes over the lease's newest version; returns the other holder, if there is one. Renews nothing. */
async function reread(settings: Settings, term: Term, stop: AbortSignal): Promise<string | undefined> {
  const { client, namespace, name, identity } = settings;
  const lease = await client.get({ namespace, name }, callOf(settings, stop));
  if (lease?.spec?.holderIdentity !== identity) return lease?.spec?.holderIdentity || 'nobody';
  term.held = { lease, renewedMs: term.held.renewedMs };
  return undefined;
}

/** A renewal cut off by the release may still have been done: then the newest version is emptied. */
async function empty(settings: Settings, term: Term): Promise<void> {
  const { clock, log, name } = settings;
  const { signal } = new AbortController();
  for (let triesLeft = 3; triesLeft > 0; triesLeft--) {
    const { lease } = term.held;
    const renewTime = microTimeOf(clock.now());
    const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime };
    try {
      await settings.client.replace({ ...lease, spec }, callOf(settings, signal));
      log.info('Released the lease', { lease: name });
      return;
    } catch (error) {
      log.info('Cannot release the lease', { lease: name, error });
    }
    const other = await reread(settings, term, signal).catch(() => undefined);
    if (other !== undefined) return;
  }
}

/** Several calls fit before the deadline, so that one slow answer does not end the leadership. */
const callOf = ({ renewDeadlineMs }: Settings, signal: AbortSignal): CallOptions => ({
  signal,
  timeoutMs: renewDeadlineMs * 0.4,
});
