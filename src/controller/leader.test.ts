import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ApiError, UnreachableError } from './api-error.ts';
import type { ResourceClient } from './client.ts';
import type { Leadership, Lease } from './leader.ts';
import { acquireLeadership, LeadershipLostError, LONGEST_LEASE_MS } from './leader.ts';
import { LEASES } from './resources.ts';
import type { ManualClock } from './testing/manual-clock.ts';
import { createManualClock, settleTasks } from './testing/manual-clock.ts';

const conflict = (): ApiError =>
  new ApiError({ method: 'PUT', path: '/lease', code: 409, reason: 'Conflict' });

/** One lease with the API server's rules; `isDown` cuts a client off, `loseAnswers` loses what was done. */
function aLeaseServer() {
  let lease: Lease | undefined;
  let version = 1;
  const store = (next: Partial<Lease>): Lease => {
    lease = {
      ...next,
      metadata: { name: 'op', namespace: 'ns', uid: 'u', resourceVersion: String(++version) },
    };
    return lease;
  };
  const clientFor = (faults: Faults): ResourceClient<Lease> => {
    const guarded = async (write?: () => Lease): Promise<Lease | undefined> => {
      if (faults.isDown || (write && faults.refusesWrites)) throw new UnreachableError('down');
      const answer = write ? write() : lease;
      if (write && faults.loseAnswers) throw new UnreachableError('answer lost');
      return answer;
    };
    const unused = (): never => assert.fail('not part of leader election');
    return {
      type: LEASES,
      get: () => guarded(),
      create: async (wanted) => {
        if (lease) throw new ApiError({ method: 'POST', path: '/lease', code: 409, reason: 'AlreadyExists' });
        return (await guarded(() => store(wanted as Lease))) ?? unused();
      },
      replace: async (wanted) => {
        const done = await guarded(() => {
          if (wanted.metadata.resourceVersion !== lease?.metadata.resourceVersion) throw conflict();
          return store(wanted);
        });
        return done ?? unused();
      },
      list: unused,
      pages: unused,
      replaceStatus: unused,
      mergePatch: unused,
      delete: unused,
    };
  };
  return { clientFor, store, remove: () => void (lease = undefined), spec: () => lease?.spec };
}

interface Faults {
  isDown?: boolean;
  loseAnswers?: boolean;
  refusesWrites?: boolean;
}

type Server = ReturnType<typeof aLeaseServer>;

/** A candidate that remembers when it won. */
function aCandidate(server: Server, clock: ManualClock, identity: string) {
  const faults: Faults = {};
  const stop = new AbortController();
  const options = {
    client: server.clientFor(faults),
    namespace: 'ns',
    name: 'op',
    identity,
    clock,
    random: () => 1,
  };
  const state: { leadership?: Leadership; wonMs?: number } = {};
  const running = acquireLeadership(options, stop.signal).then(
    (leadership) => {
      state.leadership = leadership;
      state.wonMs = clock.monotonicMs();
    },
    () => undefined,
  );
  return { faults, stop, state, running };
}

describe('leader election', () => {
  it('creates the lease and leads', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    assert.equal(a.state.leadership?.isFresh(), true);
    assert.deepEqual(server.spec(), {
      holderIdentity: 'a',
      leaseDurationSeconds: 15,
      acquireTime: '2026-01-01T00:00:00.000000Z',
      renewTime: '2026-01-01T00:00:00.000000Z',
      leaseTransitions: 0,
    });
  });

  it('keeps one leader as long as it renews', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    const b = aCandidate(server, clock, 'b');
    await clock.advance(120_000);
    assert.equal(a.state.leadership?.isFresh(), true);
    assert.equal(b.state.leadership, undefined);
    assert.equal(server.spec()?.acquireTime, '2026-01-01T00:00:00.000000Z');
  });

  it('fences itself before anybody else may take over', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    const b = aCandidate(server, clock, 'b');
    await clock.advance(5_000);
    a.faults.isDown = true;
    let lostMs = 0;
    a.state.leadership?.lost.addEventListener('abort', () => (lostMs = clock.monotonicMs()));
    await clock.advance(40_000);
    assert.equal(a.state.leadership?.isFresh(), false);
    assert.ok(a.state.leadership?.lost.reason instanceof LeadershipLostError);
    assert.ok(
      lostMs > 5_000 && lostMs < (b.state.wonMs ?? 0),
      `lost at ${lostMs}, taken at ${b.state.wonMs}`,
    );
    assert.equal(server.spec()?.holderIdentity, 'b');
    assert.equal(server.spec()?.leaseTransitions, 1);
  });

  it('is not fresh in the very moment a stopped process wakes up, before any timer ran', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    clock.freeze(60_000);
    assert.equal(a.state.leadership?.isFresh(), false);
    await clock.advance(0);
    assert.equal(a.state.leadership?.lost.aborted, true);
  });

  it('fences itself when it can read the lease but no longer renew it', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    a.faults.refusesWrites = true;
    await clock.advance(10_000);
    assert.equal(a.state.leadership?.lost.aborted, true);
  });

  it('survives an outage shorter than the deadline', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    a.faults.isDown = true;
    await clock.advance(9_000);
    a.faults.isDown = false;
    await clock.advance(60_000);
    assert.equal(a.state.leadership?.lost.aborted, false);
  });

  it('goes on after renewals that were done but never answered', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    a.faults.loseAnswers = true;
    await clock.advance(6_000);
    a.faults.loseAnswers = false;
    await clock.advance(30_000);
    assert.equal(a.state.leadership?.lost.aborted, false);
    assert.equal(a.state.leadership?.isFresh(), true);
  });

  it('hands over within two seconds when released, even if its last renewal got no answer', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    const b = aCandidate(server, clock, 'b');
    a.faults.loseAnswers = true;
    await clock.advance(2_100);
    a.faults.loseAnswers = false;
    const releasedMs = clock.monotonicMs();
    await a.state.leadership?.release();
    assert.equal(server.spec()?.holderIdentity, '');
    await clock.advance(3_000);
    assert.ok((b.state.wonMs ?? Infinity) - releasedMs <= 2_000);
    assert.equal(a.state.leadership?.isFresh(), false);
    assert.equal(a.state.leadership?.lost.aborted, false);
  });

  it('takes over within half a retry period once the lease is handed back', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    const b = aCandidate(server, clock, 'b');
    await clock.advance(1_050); // b has just asked in vain: the longest wait
    const releasedMs = clock.monotonicMs();
    await a.state.leadership?.release();
    await clock.advance(2_000);
    assert.ok((b.state.wonMs ?? Infinity) - releasedMs <= 1_000, `taken at ${b.state.wonMs}`);
  });

  it('does not wait for years because a lease says so', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    server.store({ spec: { holderIdentity: 'nobody knows', leaseDurationSeconds: 2_147_483_647 } });
    const b = aCandidate(server, clock, 'b');
    await clock.advance(LONGEST_LEASE_MS - 1_000);
    assert.equal(b.state.wonMs, undefined);
    await clock.advance(3_000);
    assert.equal(b.state.leadership?.isFresh(), true);
  });

  it('stops when somebody else holds the lease, and leaves it to them', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    server.store({ spec: { holderIdentity: 'intruder', leaseDurationSeconds: 15 } });
    await clock.advance(3_000);
    assert.equal(a.state.leadership?.lost.aborted, true);
    await a.state.leadership?.release();
    assert.equal(server.spec()?.holderIdentity, 'intruder');
  });

  it('stops when the lease is deleted; another takes over', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    server.remove();
    const b = aCandidate(server, clock, 'b');
    await clock.advance(3_000);
    assert.equal(a.state.leadership?.lost.aborted, true);
    assert.equal(b.state.leadership?.isFresh(), true);
  });

  it("ignores the holder's clock: an old stamp is no expiry, a future one no claim", async () => {
    for (const renewTime of ['2020-01-01T00:00:00.000000Z', '2099-01-01T00:00:00.000000Z']) {
      const [server, clock] = [aLeaseServer(), createManualClock()];
      server.store({ spec: { holderIdentity: 'gone', leaseDurationSeconds: 15, renewTime } });
      const b = aCandidate(server, clock, 'b');
      await clock.advance(14_000);
      assert.equal(b.state.wonMs, undefined);
      await clock.advance(5_000);
      assert.equal(b.state.leadership?.isFresh(), true);
    }
  });

  it('is not disturbed by jumps of its own wall clock', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    await settleTasks();
    const b = aCandidate(server, clock, 'b');
    for (const jump of [3_600_000, -7_200_000, 600_000]) {
      clock.shiftWall(jump);
      await clock.advance(20_000);
    }
    assert.equal(a.state.leadership?.isFresh(), true);
    assert.equal(b.state.leadership, undefined);
  });

  it('never has two fresh leaders, whatever is cut off and when', async () => {
    for (let seed = 1; seed <= 25; seed++) await underFaults(seed);
  });

  it('keeps waiting through failures and ends with the reason of the signal', async () => {
    const [server, clock] = [aLeaseServer(), createManualClock()];
    const a = aCandidate(server, clock, 'a');
    a.faults.isDown = true;
    await settleTasks();
    a.stop.abort(new Error('stop'));
    await a.running;
    assert.equal(clock.pending <= 1, true);
  });

  it('refuses a deadline that is not below the duration', async () => {
    const options = { client: aLeaseServer().clientFor({}), namespace: 'n', name: 'l', identity: 'a' };
    const wrong = acquireLeadership({ ...options, renewDeadlineMs: 15_000 }, new AbortController().signal);
    await assert.rejects(wrong, /renewDeadlineMs \(15000\) must be less than/);
  });
});

async function underFaults(seed: number): Promise<void> {
  let state = seed;
  const chance = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  const [server, clock] = [aLeaseServer(), createManualClock()];
  const candidates = ['a', 'b', 'c'].map((identity) => aCandidate(server, clock, identity));
  for (let round = 0; round < 60; round++) {
    for (const { faults } of candidates) {
      faults.isDown = chance() < 0.3;
      faults.loseAnswers = chance() < 0.2;
    }
    await clock.advance(chance() * 4_000);
    const fresh = candidates.filter(({ state: { leadership } }) => leadership?.isFresh());
    assert.ok(fresh.length <= 1, `seed ${seed}: ${fresh.length} leaders at ${clock.monotonicMs()} ms`);
  }
}
