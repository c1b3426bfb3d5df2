/**
 * First container of a task's pod: fails fast, before a GPU waits for it.
 * Idempotent: plan.json is put in place last, by one rename; with it there is nothing left to do, without it whatever
 * an interrupted run left is removed. A plan is never made twice for one pod, so markers always belong to it.
 */
import { rmSync } from 'node:fs';
import { chmod, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentReport, AgentRequest } from '../api/request.ts';
import { EXIT } from '../api/request.ts';
import { planLine } from '../api/loop.ts';
import { inBatches } from '../lib/concurrent.ts';
import type { AgentOptions } from './context.ts';
import { shown } from './failure.ts';
import { TextWriter } from './lines.ts';
import { inspectTarget, publishedReport } from './manifest.ts';
import { ensureStaging } from './paths.ts';
import { conflict, locate } from './places.ts';
import type { Places } from './places.ts';
import { commandOf } from './plan.ts';
import type { Unit } from './plan.ts';
import { openPlan, PlanWriter } from './plan-file.ts';
import type { PlanHead } from './plan-file.ts';
import { planTask, refuseHopeless } from './planning.ts';
import { podSource, retrySources } from './finished.ts';
import { earlierPods, KILLS_ALLOWED, killedUnits, reuseUnits } from './resume.ts';
import { Census } from './summary.ts';

/** A step's exit code and what it reports. */
export interface StepResult {
  readonly exitCode: number;
  readonly report: AgentReport;
  /** What is left to do once the report is written; the step may be killed meanwhile. */
  readonly afterwards?: () => Promise<void>;
}

/** Units written at once. */
const BATCH = 512;

export async function prepare(request: AgentRequest, options: AgentOptions): Promise<StepResult> {
  const places = await locate(request, options.storeRoot, options.podUid);
  const target = await inspectTarget(places.target.directory, request.identity);
  if (target.kind === 'ours') {
    const message = `already published in ${shown(places.target.relative)}`;
    return {
      exitCode: EXIT.alreadyPublished,
      report: await publishedReport(places.target, target.head, { message, podUid: options.podUid }),
    };
  }
  if (target.kind === 'other') throw conflict(places, target.owner);
  const existing = await openPlan(places.staging.plan);
  const census =
    existing === undefined ? await makePlan(request, options, places) : await countUnits(existing.units());
  const message = census.describe();
  options.log(message);
  return { exitCode: EXIT.ok, report: { v: 1, message, units: unitCounts(census) } };
}

async function makePlan(request: AgentRequest, options: AgentOptions, places: Places): Promise<Census> {
  const planned = await planTask(request, places, options);
  await makeStaging(places);
  const settle = await settleUnits(request, places, { planned: planned.units, log: options.log });
  const units = function* (): Generator<Unit> {
    for (const unit of planned.units()) yield settle === undefined ? unit : settle(unit);
  };
  const census = settle === undefined ? planned.census : await countUnits(units());
  refuseHopeless(request, census);
  await makeParents(places.staging.out, planned.parents);
  const head = {
    schema: 1 as const,
    taskUID: request.task.uid,
    podUID: options.podUid,
    attempt: request.task.attempt,
    createdAt: options.now().toISOString(),
    planHash: planned.planHash,
  };
  await writeUnits({ request, places, options, head }, units());
  return census;
}

async function countUnits(units: Iterable<Unit> | AsyncIterable<Unit>): Promise<Census> {
  const census = new Census();
  for await (const unit of units) census.add(unit);
  return census;
}

/** Starts from nothing: without a plan, nothing in this pod's staging counts. */
async function makeStaging(places: Places): Promise<void> {
  const { out, control, records } = places.staging;
  await ensureStaging(places.staging);
  for (const path of [out, control, records]) rmSync(path, { recursive: true, force: true });
  for (const path of [out, control]) {
    // oxlint-disable-next-line no-await-in-loop -- two directories
    await mkdir(path, { recursive: true });
    // oxlint-disable-next-line no-await-in-loop -- as above
    await chmod(path, 0o775);
  }
}

/** Decides what earlier pods of the task, and the task that is retried, mean for each unit; undefined without any. */
async function settleUnits(
  request: AgentRequest,
  places: Places,
  given: { readonly planned: () => Iterable<Unit>; readonly log: AgentOptions['log'] },
): Promise<((unit: Unit) => Unit) | undefined> {
  if (request.run.per === 'Dataset') return undefined;
  const pods = await earlierPods(places.staging);
  const earlier = request.retryOf ? await retrySources(request.retryOf, places, given.log) : [];
  if (pods.length + earlier.length === 0) return undefined;
  const killed = await killedUnits(pods);
  const isOpen = ({ state, id }: Unit): boolean => state === 'run' && !killed.has(id);
  const into = { ...places.staging, rules: request.outputs, isOpen };
  const own = request.resume ? pods.map((pod) => podSource(pod)) : [];
  const { reused, spoilt } = await reuseUnits([...own, ...earlier], given.planned, into);
  return (unit) => {
    if (unit.state !== 'run') return unit;
    const from = reused.get(unit.key);
    if (reused.has(unit.key)) return { ...unit, state: 'reused', ...(from === undefined ? {} : { from }) };
    if (killed.has(unit.id)) return { ...unit, state: 'abandoned', reason: KILLED_REASON };
    const rerun = spoilt.get(unit.key);
    return rerun === undefined ? unit : { ...unit, rerun };
  };
}

const KILLED_REASON = `ended its container in ${KILLS_ALLOWED} attempts, most likely for memory: raise resources.memory of the model or split the file`;

async function makeParents(out: string, parents: Iterable<string>): Promise<void> {
  for (const parent of parents) {
    // oxlint-disable-next-line no-await-in-loop -- directories of one tree
    await mkdir(join(out, parent), { recursive: true });
  }
}

interface Writing {
  readonly request: AgentRequest;
  readonly places: Places;
  readonly options: AgentOptions;
  readonly head: PlanHead;
}

/** Writes the loop's script of what is to be run, and the plan; the plan appears last. */
async function writeUnits({ request, places, options, head }: Writing, units: Iterable<Unit>): Promise<void> {
  const { control, plan: planFile } = places.staging;
  const script = join(control, 'plan.sh');
  await using lines = await TextWriter.create(`${script}.tmp`);
  await using plan = await PlanWriter.start(planFile, head);
  for await (const batch of inBatches(units, BATCH)) {
    for (const unit of batch) {
      plan.add(unit);
      if (unit.state === 'run') lines.add(scriptLine(request, options, unit));
    }
    await plan.drain();
    await lines.drain();
  }
  await lines.finish();
  await rename(`${script}.tmp`, script);
  await plan.finish();
}

/** Nothing for a dataset: its one command is the container's own. */
function scriptLine(request: AgentRequest, options: AgentOptions, unit: Unit): string {
  return request.run.per === 'Dataset' ? '' : planLine(unit.id, commandOf(request, unit, options));
}

function unitCounts({
  total,
  reused,
  lost,
}: Pick<Census, 'total' | 'reused' | 'lost'>): NonNullable<AgentReport['units']> {
  return { total, done: reused, failed: lost.count, reused };
}
