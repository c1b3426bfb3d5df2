/** What a manifest says about one publication. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentRequest } from '../api/request.ts';
import { mapBounded } from './concurrent.ts';
import type { AgentOptions } from './context.ts';
import { isMissing } from './failure.ts';
import { manifestLines } from './manifest.ts';
import { readUntrusted } from './paths.ts';
import type { Places } from './places.ts';
import type { Plan } from './plan-file.ts';
import { shorten } from './report.ts';
import type { Verdict } from './verify.ts';

export interface Publication {
  readonly request: AgentRequest;
  readonly places: Places;
  readonly plan: Plan;
  readonly verdicts: readonly Verdict[];
  readonly options: AgentOptions;
}

/** What stands in `out` besides the promised outputs. */
export interface Tree {
  /** Deepest first. */
  readonly directories: readonly string[];
  readonly extra: readonly string[];
  /** Links, pipes and the like: never published. */
  readonly removed: readonly string[];
}

const MAX_LISTED = 1000;
const CONCURRENCY = 16;

/** The lines of the manifest. */
export async function manifestOf(
  publication: Publication,
  tree: Tree,
  finishedAt: Date,
): Promise<Iterable<string>> {
  const changed = await changedInputs(publication);
  return manifestLines(await manifestHead(publication, tree, { changed, finishedAt }), {
    units: units(publication.verdicts),
    inputs: inputs(publication),
    outputs: outputs(publication.verdicts),
  });
}

async function manifestHead(
  publication: Publication,
  tree: Tree,
  ending: { readonly changed: readonly string[]; readonly finishedAt: Date },
): Promise<Record<string, unknown>> {
  const { request, plan, options, places } = publication;
  const gpu = (await readUntrusted({ root: places.staging.control }, 'gpu', 512)).trim();
  const { attempt, createdAt, ...task } = request.task;
  return {
    schema: 1,
    identity: request.identity,
    task,
    summary: summary(publication.verdicts),
    attempt,
    model: request.model,
    parameters: request.parameters,
    dataset: request.dataset,
    planHash: plan.planHash,
    node: options.node,
    pod: { name: options.podName, uid: options.podUid },
    ...(gpu === '' ? {} : { gpu }),
    times: { created: createdAt, prepared: plan.createdAt, published: ending.finishedAt.toISOString() },
    operatorVersion: request.operatorVersion,
    changedInputs: bounded(ending.changed),
    extra: bounded(tree.extra),
    removed: bounded(tree.removed),
  };
}

function bounded(paths: readonly string[]): { readonly count: number; readonly paths: readonly string[] } {
  return { count: paths.length, paths: paths.slice(0, MAX_LISTED) };
}

/** Counts of the result; the manifest repeats them, so that a later pod reports the same. */
function summary(verdicts: readonly Verdict[]): Record<string, unknown> {
  const failed = verdicts.filter(({ failure }) => failure !== undefined);
  const files = new Map(
    verdicts
      .filter(({ failure }) => failure === undefined)
      .flatMap(({ outputs: list }) => list.map((o) => [o.path, o.size])),
  );
  return {
    units: {
      total: verdicts.length,
      done: verdicts.length - failed.length,
      failed: failed.length,
      reused: verdicts.filter(({ unit }) => unit.state === 'reused').length,
    },
    files: files.size,
    bytes: [...files.values()].reduce((sum, size) => sum + size, 0),
    failedUnits: failed
      .slice(0, 4)
      .map(({ unit, failure }) => shorten(`${unit.name} ${failure?.reason ?? ''}`, 200)),
  };
}

function* units(verdicts: readonly Verdict[]): Generator {
  for (const { unit, exitCode, failure } of verdicts) {
    yield {
      name: unit.name,
      key: unit.key,
      outcome: failure === undefined ? (unit.state === 'reused' ? 'Reused' : 'Done') : 'Failed',
      ...(exitCode === undefined ? {} : { exitCode }),
      ...failure,
    };
  }
}

function* inputs({ plan, request }: Publication): Generator {
  for (const unit of plan.units) {
    for (const { path, size, mtimeMs, annexKey, seconds } of unit.inputs) {
      yield {
        path: `${request.inputs.root}/${path}`,
        size,
        mtime: new Date(mtimeMs).toISOString(),
        ...(annexKey === undefined ? {} : { annexKey }),
        ...(seconds === undefined ? {} : { seconds }),
      };
    }
  }
}

function* outputs(verdicts: readonly Verdict[]): Generator {
  const seen = new Set<string>();
  for (const verdict of verdicts) {
    if (verdict.failure !== undefined) continue;
    for (const { path, size, sha256 } of verdict.outputs) {
      if (seen.has(path)) continue;
      seen.add(path);
      yield { path, size, sha256 };
    }
  }
}

/** Inputs that are no longer what prepare saw: reported, because the outputs may stem from either. */
async function changedInputs({ request, places, plan, options }: Publication): Promise<string[]> {
  const root = join(places.dataset, request.inputs.root);
  const worked = plan.units.filter(({ state }) => state === 'run').flatMap((unit) => unit.inputs);
  const changed = await mapBounded(worked, CONCURRENCY, async (input) => {
    try {
      const now = await stat(join(root, input.path));
      return now.ino === input.ino && now.size === input.size && now.mtimeMs === input.mtimeMs
        ? undefined
        : input.path;
    } catch (error) {
      if (isMissing(error)) return input.path;
      throw error;
    }
  });
  const paths = changed.filter((path) => path !== undefined);
  if (paths.length > 0)
    options.log(`${paths.length} inputs changed while the task ran; the manifest names them`);
  return paths;
}
