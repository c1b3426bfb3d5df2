/**
 * What a task has to do, found on the store: the same for the pod's prepare step and for the store agent, which asks
 * before there is a pod. Reads only. The inputs stay in memory; the units pass by, and are made again where they are
 * needed again, for a hundred thousand of them would fill it.
 */
import { glob, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AgentRequest } from '../api/request.ts';
import { AgentFailure, errorCode, isMissing, shown } from './failure.ts';
import { isInside, joinBelow, pathProblem, realBelow } from './paths.ts';
import type { Places } from './places.ts';
import { planHasher, planUnits, Promises } from './plan.ts';
import type { Mounts, Unit } from './plan.ts';
import { preflight } from './preflight.ts';
import type { CheckedInput } from './preflight.ts';
import { Census, listFailures } from './summary.ts';
import { walkInputs } from './walk.ts';

/** An analysis that must come first has not run yet. In a pod it is an invalid input like any other. */
export class RequirementsMissing extends AgentFailure {
  constructor(message: string) {
    super('InvalidInput', message);
  }
}

export interface Planned {
  /** The units from their start, each time that it is called. */
  readonly units: () => Iterable<Unit>;
  readonly census: Census;
  readonly planHash: string;
  /** Directories below the outputs that the model finds ready. */
  readonly parents: ReadonlySet<string>;
}

/**
 * The units of a task, each checked. Throws RequirementsMissing, or InvalidInput when there is nothing to do, more
 * inputs are unusable than the model allows, or outputs get into each other's way.
 */
export async function planTask(request: AgentRequest, places: Places, mounts: Mounts): Promise<Planned> {
  await checkRequirements(request, places.dataset);
  const inputs = await findInputs(request, places);
  const units = (): Iterable<Unit> => planUnits(request, inputs, mounts);
  const planned = { units, ...countPlanned(request, units()) };
  refuseHopeless(request, planned.census);
  return planned;
}

/** Goes through the units once. Throws InvalidInput when their outputs get into each other's way. */
function countPlanned(request: AgentRequest, units: Iterable<Unit>): Omit<Planned, 'units'> {
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

async function checkRequirements(request: AgentRequest, dataset: string): Promise<void> {
  for (const pattern of request.requires ?? []) {
    // oxlint-disable-next-line no-await-in-loop -- the first missing one is reported
    if (pathProblem(pattern) === undefined && (await matchesAny(pattern, dataset))) continue;
    throw new RequirementsMissing(
      `model ${request.model.name} needs ${shown(pattern)} in dataset ${shown(request.dataset.path)}, and nothing matches: run the analysis that makes it first`,
    );
  }
}

/**
 * A link counts only when it leads to something inside the dataset: one whose content was not fetched is no result of
 * an analysis, and the model's container sees nothing outside.
 */
async function matchesAny(pattern: string, dataset: string): Promise<boolean> {
  for await (const match of glob(pattern, { cwd: dataset })) {
    const real = await realpath(join(dataset, match)).catch((error: unknown) => {
      if (isMissing(error) || errorCode(error) === 'ELOOP') return undefined;
      throw error;
    });
    if (real !== undefined && isInside(dataset, real)) return true;
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

/** Throws when more units are lost already than the model allows, or when nothing is left to do. */
export function refuseHopeless(request: AgentRequest, { lost, total, abandoned }: Census): void {
  if (lost.count <= request.failure.maxFailedUnits && lost.count < total) return;
  throw new AgentFailure(
    abandoned > 0 ? 'OutOfMemory' : 'InvalidInput',
    `${lost.count} of ${total} inputs cannot be analysed (the model allows ${request.failure.maxFailedUnits}): ${listFailures(lost)}`,
  );
}
