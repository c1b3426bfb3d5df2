import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import process from 'node:process';
import { after, before, describe, it } from 'mocha';
import { z } from 'zod';
import { type Aftermath, callbacksAgree, elsiAgrees, openTasks, trueEnds } from '../../hack/storm/judge.ts';
import { planStorm } from '../../hack/storm/plan.ts';
import type { StormReport } from '../../hack/storm/report.ts';
import { endOf } from '../e2e/support/oracle.ts';
import { SET_UP_MS, site, STORM } from '../e2e/support/site.ts';
import { readHistory } from '../faults/rig/history.ts';
import { violationsOf } from '../faults/rig/oracles.ts';
import { eventually } from '../support/eventually.ts';
import { type Ground, openGround } from './ground.ts';
import { jobsNow, ledgerOf, podsNow, strays, tasksNow, volume } from './aftermath.ts';
import { live } from './people.ts';
import { startWitness, type Witness } from './witness.ts';
import { storm, type Struck } from './weather.ts';

const setting = z.coerce.number().int().min(1);
const env = z
  .object({
    STORM_SEED: setting.default(1),
    STORM_MINUTES: setting.default(2),
    STORM_TASKS: setting.default(16),
    STORM_FAULT_EVERY: setting.default(12),
    STORM_REPORT: z.string().default(''),
  })
  .parse(process.env);
const plan = planStorm({
  seed: env.STORM_SEED,
  minutes: env.STORM_MINUTES,
  tasks: env.STORM_TASKS,
  faultEverySeconds: env.STORM_FAULT_EVERY,
});
/** After the last fault everything has to come to its end: backoffs, deadlines, retries of callbacks. */
const CALM_MS = 15 * 60_000;
const TELL_MS = 30_000;

describe(`a storm of ${plan.minutes} min over ${plan.tasks} tasks, seed ${plan.seed}`, function () {
  this.timeout(CALM_MS + 60_000);
  let ground: Ground;
  let witness: Witness;
  let struck: readonly Struck[] = [];
  let unable: readonly string[] = [];
  let aftermath: Aftermath; // undefined until the storm is over
  let startedAt = 0;
  const found: string[] = [];

  before('the chart with all its parts, an ELSI and a receiver', async function () {
    this.timeout(SET_UP_MS);
    ground = await openGround();
    witness = await startWitness(ground.cluster);
  });

  before('the storm', async function () {
    this.timeout(plan.minutes * 60_000 + 2 * CALM_MS);
    startedAt = Date.now();
    const startMs = performance.now();
    const teller = setInterval(() => void tellProgress(startMs), TELL_MS);
    try {
      const people = plan.people.map((planned) => live(ground, planned, startMs));
      struck = await storm(ground, plan.faults, startMs, tellFault);
      unable = (await Promise.all(people)).flat();
      await eventually('all tasks are over', allOver, CALM_MS, 2000).catch((error: unknown) =>
        found.push(String(error)),
      );
    } finally {
      clearInterval(teller);
    }
    aftermath = { people: plan.people, tasks: await tasksNow(), diskFull: fullTimes() };
  });

  after(async () => {
    witness?.stop();
    await ground?.elsi.down().catch(() => undefined);
    await ground?.receiver.down().catch(() => undefined);
  });

  async function allOver(): Promise<true | undefined> {
    const tasks = await tasksNow().catch(() => undefined);
    return tasks && openTasks(plan.people, tasks).length === 0 ? true : undefined;
  }

  const fullTimes = (): Aftermath['diskFull'] =>
    struck
      .filter(({ target }) => target === 'disk')
      .map(({ fromSeconds, toSeconds }) => ({
        fromMs: startedAt + fromSeconds * 1000,
        toMs: startedAt + toSeconds * 1000,
      }));

  async function tellProgress(startMs: number): Promise<void> {
    const tasks = await tasksNow().catch(() => []);
    const phases = Map.groupBy(tasks, ({ status }) => status?.phase ?? 'new');
    const counts = [...phases].map(([phase, all]) => `${all.length} ${phase}`);
    console.log(`  ${Math.round((performance.now() - startMs) / 1000)} s: ${counts.toSorted().join(', ')}`);
  }

  /** A promise of the storm: nothing is found that breaks it. What is found goes into the report too. */
  function promise(title: string, look: () => Promise<string[]> | string[]): void {
    it(title, async () => {
      const problems = await look();
      found.push(...problems.map((problem) => `${title}: ${problem}`));
      assert.deepEqual(problems, []);
    });
  }

  promise('everybody could do what they wanted', () => [...unable]);
  promise('every task is over, in its true state', () => {
    const open = openTasks(plan.people, aftermath.tasks);
    return [...open.map((name) => `${name} is not over`), ...trueEnds(aftermath)];
  });
  promise('one published result per success, and no staging that is due', () => volume(aftermath));
  promise('ELSI shows the end of each of its tasks, told once', async () => {
    const agrees = () => elsiAgrees(aftermath, ground.elsi.now());
    await eventually('ELSI agrees', () => (agrees().length === 0 ? true : undefined), 60_000, 1000).catch(
      () => undefined,
    );
    return agrees();
  });
  promise('the receiver has each event once by its id, the end last', () =>
    callbacksAgree(aftermath, ground.receiver),
  );
  promise('nothing strays: no pod, no Job, no finalizer', () => strays(aftermath));
  promise('the whole history holds: one Job per attempt, one pod per Job, no status goes back', async () => {
    const history = await readHistory(ground.auditLog, STORM, ground.auditFrom);
    assert.ok(history.taskWrites.length >= plan.tasks / 2, 'the audit log has been read');
    return violationsOf(history, ledgerOf(await podsNow()));
  });
  promise('no operator crashed by itself', () => witness.crashes());
  promise('deleted, all of it goes', async () => {
    await site().kube.run(['delete', 'atask', '--all', '-n', STORM, '--wait=false']);
    const left = async (): Promise<string[]> =>
      [...(await tasksNow()), ...(await jobsNow()), ...(await podsOfTasks())].map(
        ({ metadata }) => metadata.name,
      );
    const gone = async () => ((await left()).length === 0 ? true : undefined);
    await eventually('all is gone', gone, 300_000, 1000).catch(() => undefined);
    return left();
  });

  after('write the report', async () => {
    if (env.STORM_REPORT === '' || !aftermath) return;
    const phases = Object.groupBy(aftermath.tasks, ({ status }) => endOf(status ?? {}));
    const report: StormReport = {
      ...plan,
      people: plan.people.map(({ way, behaviour, hand, hasCallback }) => ({
        way,
        behaviour,
        hand: hand?.what,
        hasCallback,
      })),
      struck: struck.map(({ target, how, recoverySeconds }) => ({ target, how, recoverySeconds })),
      ends: Object.fromEntries(Object.entries(phases).map(([end, all]) => [end, all?.length ?? 0])),
      attempts: aftermath.tasks.reduce((sum, { status }) => sum + (status?.attempt?.number ?? 0), 0),
      deliveries: ground.receiver.deliveries.length,
      puts: ground.elsi.now().audit.length,
      violations: found,
    };
    await mkdir(dirname(env.STORM_REPORT), { recursive: true });
    await writeFile(env.STORM_REPORT, JSON.stringify(report, null, 2));
  });

  async function podsOfTasks() {
    const agents = (name: string): boolean => name.includes('store-agent');
    return (await podsNow()).filter(({ metadata }) => !agents(metadata.name));
  }
});

function tellFault({ fromSeconds, target, how, seconds, victim, recoverySeconds }: Struck): void {
  const length = how === 'kill' ? '' : ` ${seconds} s`;
  console.log(
    `  ${Math.round(fromSeconds)} s: ${how}${length} ${target} (${victim}); well again after ${recoverySeconds} s`,
  );
}
