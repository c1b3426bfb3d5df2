/**
 * First container of a task's pod: fails fast, before a GPU waits for it.
 * Idempotent: plan.json is put in place last, by one rename; with it there is nothing left to do, without it whatever
 * an interrupted run left is removed. A plan is never made twice for one pod, so markers always belong to it.
 */
import { rmSync } from 'node:fs';
import { chmod, glob, mkdir, realpath, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AgentReport, AgentRequest } from '../api/request.ts';
import { EXIT } from '../api/request.ts';
import { planLine } from '../api/loop.ts';
import { inBatches } from './concurrent.ts';
import type { AgentOptions } from './context.ts';
import { AgentFailure, shown } from './failure.ts';
import { TextWriter } from './lines.ts';
import { inspectTarget, publishedReport } from './manifest.ts';
import { ensureStaging, isInside, joinBelow, pathProblem, realBelow } from './paths.ts';
import { conflict, locate } from './places.ts';
import type { Places } from './places.ts';
import { commandOf, planHasher, planUnits, Promises } from './plan.ts';
import type { Unit } from './plan.ts';
import { openPlan, PlanWriter } from './plan-file.ts';
import type { PlanHead } from './plan-file.ts';
import { preflight } from './preflight.ts';
import type { CheckedInput } from './preflight.ts';
import { earlierPods, KILLS_ALLOWED, killedUnits, reuseUnits } from './resume.ts';
import { Census, listFailures } from './summary.ts';
import { walkInputs } from './walk.ts';

/** A step's exit code and what it reports. */
export interface StepResult {
  readonly exitCode: number;
  readonly report: AgentReport;
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
      report: await publishedReport(places.target, target.head, message),
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
  await checkRequirements(request, places.dataset);
  const inputs = await findInputs(request, places);
  const planned = (): Iterable<Unit> => planUnits(request, inputs, options);
  const survey = surveyUnits(request, planned());
  refuseHopeless(request, survey.census);
  await makeStaging(places);
  const settle = await settleUnits(request, places, planned);
  const units = function* (): Generator<Unit> {
    for (const unit of planned()) yield settle === undefined ? unit : settle(unit);
  };
  const census = settle === undefined ? survey.census : await countUnits(units());
  refuseHopeless(request, census);
  await makeParents(places.staging.out, survey.parents);
  const head = {
    schema: 1 as const,
    taskUID: request.task.uid,
    podUID: options.podUid,
    attempt: request.task.attempt,
    createdAt: options.now().toISOString(),
    planHash: survey.planHash,
  };
  await writeUnits({ request, places, options, head }, units());
  return census;
}

interface Survey {
  readonly census: Census;
  readonly planHash: string;
  /** Directories below the outputs that the model finds ready. */
  readonly parents: ReadonlySet<string>;
}

/** Goes through the units once. Throws InvalidInput when their outputs get into each other's way. */
function surveyUnits(request: AgentRequest, units: Iterable<Unit>): Survey {
  const census = new Census();
  const promises = new Promises(request);
  const hasher = planHasher(request);
  const parents = new Set<string>();
  for (const unit of units) {
    census.add(unit);
    promises.add(unit);
    hasher.add(unit);
    if (unit.state === 'run') for (const { path } of unit.outputs) parents.add(dirname(path));
  }
  promises.check();
  return { census, planHash: hasher.digest(), parents };
}

async function countUnits(units: Iterable<Unit> | AsyncIterable<Unit>): Promise<Census> {
  const census = new Census();
  for await (const unit of units) census.add(unit);
  return census;
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
  const root = await realpath(cwd);
  for await (const match of glob(pattern, { cwd })) {
    // A link whose content was not fetched is no result of an analysis, nor is one to another place.
    const real = await realpath(join(cwd, match)).catch(() => undefined);
    if (real !== undefined && isInside(root, real)) return true;
  }
  return false;
}

async function findInputs(request: AgentRequest, places: Places): Promise<CheckedInput[]> {
  const { root, include } = request.inputs;
  const { directory = '' } = request.dataset;
  const searched = directory === '' ? root : `${root}/${directory}`;
  const field = directory === '' ? 'inputs.root' : 'dataset.directory';
  const place = await realBelow(places.dataset, searched, { field, within: 'the dataset' });
  if (!(await stat(place)).isDirectory()) {
    throw new AgentFailure('InvalidInput', `${shown(searched)} is a file: name a directory of the dataset`);
  }
  const passed = { linkedDirectories: 0 };
  const search = {
    dataset: places.dataset,
    root: joinBelow(places.dataset, root, 'inputs.root'),
    directory,
    include,
    outputs: places.staging.outputs,
  };
  const check = { root: search.root, audio: request.inputs.audio, effort: request.inputs.effort };
  const inputs = await preflight(check, walkInputs(search, passed));
  if (inputs.length > 0) return inputs;
  const linked =
    passed.linkedDirectories > 0 ? `; ${passed.linkedDirectories} linked directories were not entered` : '';
  throw new AgentFailure(
    'InvalidInput',
    `no input matches ${include.map(shown).join(' or ')} below ${shown(`${request.dataset.path}/${searched}`)}${linked}: copy the recordings there, or name another directory`,
  );
}

/** Ends the step when more units are lost already than the model allows, or when nothing is left to do. */
function refuseHopeless(request: AgentRequest, { lost, total, abandoned }: Census): void {
  if (lost.count <= request.failure.maxFailedUnits && lost.count < total) return;
  throw new AgentFailure(
    abandoned > 0 ? 'OutOfMemory' : 'InvalidInput',
    `${lost.count} of ${total} inputs cannot be analysed (the model allows ${request.failure.maxFailedUnits}): ${listFailures(lost)}`,
  );
}

/** Starts from nothing: without a plan, nothing in this pod's staging counts. */
async function makeStaging(places: Places): Promise<void> {
  const { out, control, records } = places.staging;
  await ensureStaging(places.staging);
  for (const path of [out, control, records]) rmSync(path, { recursive: true, force: true });
  for (const path of [out, control]) {
    // oxlint-disable-next-line no-await-in-loop -- two directories
    await mkdir(path);
    // oxlint-disable-next-line no-await-in-loop -- as above
    await chmod(path, 0o775);
  }
}

/** Decides what earlier pods of the task mean for each unit; undefined when there were none. */
async function settleUnits(
  request: AgentRequest,
  places: Places,
  planned: () => Iterable<Unit>,
): Promise<((unit: Unit) => Unit) | undefined> {
  const pods = request.run.per === 'Dataset' ? [] : await earlierPods(places.staging);
  if (pods.length === 0) return undefined;
  const killed = await killedUnits(pods);
  const isOpen = ({ state, id }: Unit): boolean => state === 'run' && !killed.has(id);
  const into = { ...places.staging, rules: request.outputs };
  const reused = request.resume ? await reuseUnits(pods, planned, { ...into, isOpen }) : new Set<string>();
  return (unit) => {
    if (unit.state !== 'run') return unit;
    if (reused.has(unit.key)) return { ...unit, state: 'reused' };
    return killed.has(unit.id) ? { ...unit, state: 'abandoned', reason: KILLED_REASON } : unit;
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
