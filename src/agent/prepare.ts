/**
 * First container of a task's pod: fails fast, before a GPU waits for it.
 * Idempotent: plan.json is put in place last, by one rename; with it there is nothing left to do, without it whatever
 * an interrupted run left is removed. A plan is never made twice for one pod, so markers always belong to it.
 */
import { chmod, glob, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AgentReport, AgentRequest } from '../api/request.ts';
import { EXIT } from '../api/request.ts';
import { planLine } from '../api/loop.ts';
import type { AgentOptions } from './context.ts';
import { AgentFailure, shown } from './failure.ts';
import { writeLines } from './lines.ts';
import { inspectTarget, publishedReport } from './manifest.ts';
import { ensureStaging, joinBelow, pathProblem, realBelow } from './paths.ts';
import { conflict, locate } from './places.ts';
import type { Places } from './places.ts';
import { buildUnits, commandOf, planHash } from './plan.ts';
import type { Unit } from './plan.ts';
import { readPlan, writePlan } from './plan-file.ts';
import { preflight } from './preflight.ts';
import { appendRecords } from './records.ts';
import { earlierPods, KILLS_ALLOWED, killedUnits, reuseUnits } from './resume.ts';
import { describeUnits, listFailures } from './summary.ts';
import { listInputs } from './walk.ts';
import type { InputListing } from './walk.ts';

/** A step's exit code and what it reports. */
export interface StepResult {
  readonly exitCode: number;
  readonly report: AgentReport;
}

export async function prepare(request: AgentRequest, options: AgentOptions): Promise<StepResult> {
  const places = await locate(request, options.storeRoot, options.podUid);
  const target = await inspectTarget(places.target.directory, request.identity);
  if (target.kind === 'ours') {
    const message = `already published in ${shown(places.target.relative)}`;
    return {
      exitCode: EXIT.alreadyPublished,
      report: await publishedReport(places.target, target.head, message),
    };
  }
  if (target.kind === 'other') throw conflict(places, target.owner);
  const existing = await readPlan(places.staging.plan);
  const units = existing?.units ?? (await makePlan(request, options, places));
  const message = describeUnits(units);
  options.log(message);
  return { exitCode: EXIT.ok, report: { v: 1, message, units: countUnits(units) } };
}

async function makePlan(
  request: AgentRequest,
  options: AgentOptions,
  places: Places,
): Promise<readonly Unit[]> {
  await checkRequirements(request, places.dataset);
  const listing = await findInputs(request, places);
  const checked = await preflight(
    join(places.dataset, request.inputs.root),
    listing.inputs,
    request.inputs.audio,
  );
  const planned = buildUnits(request, checked, options);
  refuseHopeless(request, planned);
  await makeStaging(places);
  const units = await settleUnits(request, places, planned);
  refuseHopeless(request, units);
  await writeControl({ request, places, options, units });
  const head = {
    schema: 1 as const,
    taskUID: request.task.uid,
    podUID: options.podUid,
    attempt: request.task.attempt,
    createdAt: options.now().toISOString(),
    planHash: planHash(request, units),
  };
  await writePlan(places.staging.plan, head, units);
  return units;
}

async function checkRequirements(request: AgentRequest, dataset: string): Promise<void> {
  for (const pattern of request.requires ?? []) {
    // oxlint-disable-next-line no-await-in-loop -- the first missing one is reported
    if (pathProblem(pattern) === undefined && (await matchesAny(pattern, dataset))) continue;
    throw new AgentFailure(
      'InvalidInput',
      `model ${request.model.name} needs ${shown(pattern)} in dataset ${shown(request.dataset.path)}, and nothing matches: run the analysis that makes it first`,
    );
  }
}

async function matchesAny(pattern: string, cwd: string): Promise<boolean> {
  for await (const _ of glob(pattern, { cwd })) return true;
  return false;
}

async function findInputs(request: AgentRequest, places: Places): Promise<InputListing> {
  const { root, include } = request.inputs;
  const { directory = '' } = request.dataset;
  const searched = directory === '' ? root : `${root}/${directory}`;
  const field = directory === '' ? 'inputs.root' : 'dataset.directory';
  const place = await realBelow(places.dataset, searched, { field, within: 'the dataset' });
  if (!(await stat(place)).isDirectory()) {
    throw new AgentFailure('InvalidInput', `${shown(searched)} is a file: name a directory of the dataset`);
  }
  const listing = await listInputs({
    dataset: places.dataset,
    root: joinBelow(places.dataset, root, 'inputs.root'),
    directory,
    include,
    outputs: places.staging.outputs,
  });
  if (listing.inputs.length > 0) return listing;
  const linked =
    listing.linkedDirectories > 0 ? `; ${listing.linkedDirectories} linked directories were not entered` : '';
  throw new AgentFailure(
    'InvalidInput',
    `no input matches ${include.map(shown).join(' or ')} below ${shown(`${request.dataset.path}/${searched}`)}${linked}: copy the recordings there, or name another directory`,
  );
}

/** Ends the step when more units are lost already than the model allows, or when nothing is left to do. */
function refuseHopeless(request: AgentRequest, units: readonly Unit[]): void {
  const lost = units.filter(({ state }) => state === 'refused' || state === 'abandoned');
  if (lost.length <= request.failure.maxFailedUnits && lost.length < units.length) return;
  const killed = lost.some(({ state }) => state === 'abandoned');
  throw new AgentFailure(
    killed ? 'OutOfMemory' : 'InvalidInput',
    `${lost.length} of ${units.length} inputs cannot be analysed (the model allows ${request.failure.maxFailedUnits}): ${listFailures(lost)}`,
  );
}

/** Starts from nothing: without a plan, nothing in this pod's staging counts. */
async function makeStaging(places: Places): Promise<void> {
  const { out, control, records } = places.staging;
  await ensureStaging(places.staging);
  await Promise.all([out, control, records].map((path) => rm(path, { recursive: true, force: true })));
  for (const path of [out, control]) {
    // oxlint-disable-next-line no-await-in-loop -- two directories
    await mkdir(path);
    // oxlint-disable-next-line no-await-in-loop -- as above
    await chmod(path, 0o775);
  }
}

/** Decides what earlier pods of the task mean for each unit. */
async function settleUnits(request: AgentRequest, places: Places, planned: readonly Unit[]): Promise<Unit[]> {
  const pods = request.run.per === 'Dataset' ? [] : await earlierPods(places.staging);
  const killed = await killedUnits(pods);
  const open = planned.filter(({ state, id }) => state === 'run' && !killed.has(id));
  const into = { out: places.staging.out, rules: request.outputs };
  const reused = request.resume ? await reuseUnits(pods, open, into) : new Map<string, never>();
  await appendRecords(places.staging.records, [...reused.values()]);
  return planned.map((unit): Unit => {
    if (unit.state !== 'run') return unit;
    if (reused.has(unit.key)) return { ...unit, state: 'reused' };
    return killed.has(unit.id) ? { ...unit, state: 'abandoned', reason: KILLED_REASON } : unit;
  });
}

const KILLED_REASON = `ended its container in ${KILLS_ALLOWED} attempts, most likely for memory: raise resources.memory of the model or split the file`;

/** Makes the directories of the outputs, and the loop's script of what is to be run. */
async function writeControl(plan: {
  readonly request: AgentRequest;
  readonly places: Places;
  readonly options: AgentOptions;
  readonly units: readonly Unit[];
}): Promise<void> {
  const { out, control } = plan.places.staging;
  const runs = plan.units.filter(({ state }) => state === 'run');
  const parents = new Set(runs.flatMap((unit) => unit.outputs.map(({ path }) => dirname(path))));
  for (const parent of parents) {
    // oxlint-disable-next-line no-await-in-loop -- directories of one tree
    await mkdir(join(out, parent), { recursive: true });
  }
  if (plan.request.run.per === 'Dataset') return;
  const script = join(control, 'plan.sh');
  await writeLines(`${script}.tmp`, scriptLines(plan.request, plan.options, runs));
  await rename(`${script}.tmp`, script);
}

function* scriptLines(
  request: AgentRequest,
  options: AgentOptions,
  units: readonly Unit[],
): Generator<string> {
  for (const unit of units) yield planLine(unit.id, commandOf(request, unit, options));
}

function countUnits(units: readonly Unit[]): NonNullable<AgentReport['units']> {
  const count = (state: Unit['state']): number => units.filter((unit) => unit.state === state).length;
  const reused = count('reused');
  return { total: units.length, done: reused, failed: count('refused') + count('abandoned'), reused };
}
