import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentRequest } from '../api/request.ts';
import { STAGING } from '../api/request.ts';
import { type WorkerSource, workerNames } from '../api/worker.ts';
import { AgentFailure, shown } from './failure.ts';
import { joinBelow, realBelow, stagingPaths } from './paths.ts';
import type { StagingPaths } from './paths.ts';

/** Where one task reads and writes on the store. */
export interface Places {
  /** Real path of the dataset. */
  readonly dataset: string;
  readonly staging: StagingPaths;
  readonly target: { readonly directory: string; readonly relative: string };
}

/** Resolves the dataset below the store. Throws InvalidInput when it is missing, no directory, or outside. */
export async function locate(request: AgentRequest, storeRoot: string, podUid: string): Promise<Places> {
  const { path } = request.dataset;
  const dataset = await realBelow(storeRoot, path, { field: 'dataset.path', within: 'the store' });
  if (!(await stat(dataset)).isDirectory()) {
    throw new AgentFailure(
      'InvalidInput',
      `dataset.path ${shown(path)} is a file: name the directory of the dataset`,
    );
  }
  const staging = stagingPaths(dataset, { taskUid: request.task.uid, podUid, out: outOf(request) });
  return {
    dataset,
    staging,
    target: {
      directory: joinBelow(staging.outputs, checkedName(request.outputName), 'outputName'),
      relative: join(path, STAGING.outputs, request.outputName),
    },
  };
}

/** Where the outputs appear in a pod's staging. A worker makes, below what it is given, a directory for its task. */
export function outOf(request: AgentRequest): string {
  if (request.run.worker === undefined) return STAGING.out;
  return `${STAGING.out}/${workerNames(workerSource(request)).task}`;
}

export function workerSource({ identity, task, dataset }: AgentRequest): WorkerSource {
  return { identity, taskUid: task.uid, datasetPath: dataset.path };
}

function checkedName(name: string): string {
  if (!name.includes('/') && !name.startsWith('.')) return name;
  throw new AgentFailure(
    'InvalidInput',
    `outputName ${shown(name)} must be one name that does not start with ".": choose another`,
  );
}

/** The failure of a task whose place of publication is taken. */
export function conflict(places: Places, owner: string): AgentFailure {
  return new AgentFailure(
    'OutputConflict',
    `${shown(places.target.relative)} already holds ${owner}: choose another outputName, or move those files away`,
  );
}
