/** What the head of a manifest says about one publication. */
import { join } from 'node:path';
import { stat } from 'node:fs/promises';
import type { AgentRequest } from '../api/request.ts';
import type { AgentOptions } from './context.ts';
import { isMissing } from './failure.ts';
import { readUntrusted } from './paths.ts';
import type { Places } from './places.ts';
import type { PlanHead } from './plan-file.ts';
import type { Unit } from './plan.ts';
import type { Tally } from './tally.ts';

export interface Publication {
  readonly request: AgentRequest;
  readonly places: Places;
  readonly plan: PlanHead;
  readonly tally: Tally;
  /** Inputs that are no longer what prepare saw: reported, because the outputs may stem from either. */
  readonly changed: PathList;
  readonly options: AgentOptions;
}

const MAX_LISTED = 1000;

/** How many paths there are, and the first of them. */
export class PathList {
  count = 0;
  readonly paths: string[] = [];

  add(path: string): void {
    this.count++;
    if (this.paths.length < MAX_LISTED) this.paths.push(path);
  }
}

/** What stands in `out` besides the promised outputs. */
export interface Tree {
  /** Deepest first. */
  readonly directories: readonly string[];
  readonly extra: PathList;
  /** Links, pipes and the like: never published. */
  readonly removed: PathList;
}

export async function manifestHead(
  publication: Publication,
  tree: Tree,
  finishedAt: Date,
): Promise<Record<string, unknown>> {
  const { request, plan, tally, changed, options, places } = publication;
  const gpu = (await readUntrusted({ root: places.staging.control }, 'gpu', 512)).trim();
  const { attempt, createdAt, ...task } = request.task;
  return {
    schema: 1,
    identity: request.identity,
    task,
    summary: tally.summary(),
    work: tally.work.report(request.inputs.effort),
    attempt,
    model: request.model,
    parameters: request.parameters,
    dataset: request.dataset,
    ...(request.retryOf === undefined ? {} : { retryOf: request.retryOf }),
    planHash: plan.planHash,
    node: options.node,
    pod: { name: options.podName, uid: options.podUid },
    ...(gpu === '' ? {} : { gpu }),
    times: { created: createdAt, prepared: plan.createdAt, published: finishedAt.toISOString() },
    operatorVersion: request.operatorVersion,
    changedInputs: changed,
    extra: tree.extra,
    removed: tree.removed,
  };
}

/** Those inputs of a unit, below `root`, that are no longer what prepare saw. */
export async function changedInputs(root: string, unit: Unit): Promise<string[]> {
  if (unit.state !== 'run') return [];
  const changed: string[] = [];
  for (const input of unit.inputs) {
    // oxlint-disable-next-line no-await-in-loop -- units are looked at side by side
    if (await hasChanged(join(root, input.path), input)) changed.push(input.path);
  }
  return changed;
}

async function hasChanged(file: string, before: Unit['inputs'][number]): Promise<boolean> {
  try {
    const now = await stat(file);
    return now.ino !== before.ino || now.size !== before.size || now.mtimeMs !== before.mtimeMs;
  } catch (error) {
    if (isMissing(error)) return true;
    throw error;
  }
}
