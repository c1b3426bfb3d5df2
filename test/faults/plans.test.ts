import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'mocha';
import { z } from 'zod';
import type { Operator } from '../support/operator.ts';
import { eventually } from '../support/eventually.ts';
import { row } from './rig/row.ts';
import type { Rule, Seen } from './rig/rules.ts';
import { kindOfWrite, REFERENCE, runReference } from './rig/workload.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** The distinct writes of the reference workload, as row O2 records them. */
const WRITES = z
  .array(z.string())
  .parse(JSON.parse(readFileSync(join(import.meta.dirname, 'rig', 'reference-writes.json'), 'utf8')));

type Crash = (matches: Rule['matches'], kill: () => void) => Rule;

/** The moments at which a process can die around a write. */
const POINTS: readonly (readonly [string, Crash])[] = [
  ['before-send', (matches, kill) => ({ matches, fault: { do: 'drop-request' }, onHit: kill })],
  ['after-send', (matches, kill) => ({ matches, fault: { do: 'drop-response' }, onHit: kill })],
  ['after-response', (matches, kill) => ({ matches, fault: { do: 'pass' }, after: kill })],
];

interface Plan {
  readonly write: string;
  readonly point: string;
  readonly crash: Crash;
}

const PLANS: readonly Plan[] = WRITES.flatMap((write) =>
  POINTS.map(([point, crash]) => ({ write, point, crash })),
);

const idOf = (prefix: string, { write, point }: Plan): string =>
  `${prefix}/${write.replaceAll(/\W+/g, '-')}@${point}`;

/** `make test` tries these; `make faults` tries all. */
const SMOKE = new Set([
  'A1/create-jobs@after-send',
  'A1/status-Pending-Starting-1@after-response',
  'A1/status-Succeeded-Published-1-job@after-send',
  'E3/create-jobs@after-send',
]);

/** Kills the operator at the first write of the plan's kind, starts it again, and lets the workload run to its end. */
async function carryOut({ write, crash }: Plan, world: World, start: () => Promise<Operator>): Promise<void> {
  const killed = Promise.withResolvers<void>();
  let victim = await start();
  let isOver = false;
  const kill = (): void => void victim.stop('SIGKILL').then(() => killed.resolve(), killed.reject);
  const rule = world.proxy.inject(crash((request: Seen) => kindOfWrite(request) === write, kill));
  const isHit = (): boolean => rule.hits() > 0;
  /** As a Deployment does: a machine that stalls costs a leader its lease, and it ends. */
  const replace = (): void =>
    void victim.exited().then(async () => {
      if (isHit() || isOver) return;
      victim = await start();
      replace();
    }, killed.reject);
  replace();
  try {
    await Promise.all([
      eventually(`the write "${write}"`, () => isHit() || undefined, RECOVERY_MS)
        .then(() => killed.promise)
        .then(start),
      runReference(world),
    ]);
  } finally {
    isOver = true;
  }
  await world.sound(REFERENCE);
  assert.equal(rule.hits(), 1);
}

describe('A1 the operator is killed around each distinct write of the reference workload', () => {
  for (const plan of PLANS) {
    const id = idOf('A1', plan);
    const body = () => inWorld('crash', (world) => carryOut(plan, world, () => world.operator()));
    row(id, 'one Job per attempt, one result, the true end', body, { smoke: SMOKE.has(id) });
  }
});

/** Twelve plans, spread over all of them: a prime step visits every write and every point. */
const REPEATED = Array.from({ length: 12 }, (_, index) => PLANS[(index * 7) % PLANS.length]).filter(
  (plan) => plan !== undefined,
);

describe('E3 the same while a second operator also believes to lead', () => {
  for (const plan of REPEATED) {
    const id = idOf('E3', plan);
    const body = () =>
      inWorld('both', async (world) => {
        await world.operator({ forced: true });
        await carryOut(plan, world, () => world.operator({ forced: true }));
      });
    row(id, 'two leaders do no harm', body, { smoke: SMOKE.has(id) });
  }
});
