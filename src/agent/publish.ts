/**
 * Last container of a task's pod; its exit code is the task's truth. Verify, judge, complete `out` with manifest and
 * metannots, flush, one rename. Any error before the rename leaves the target untouched; after any error of the rename
 * itself the target's manifest decides. Executed again after a crash, it finds either its plan or its manifest.
 */
import { rmSync } from 'node:fs';
import { readdir, realpath, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentRequest } from '../api/request.ts';
import { EXIT } from '../api/request.ts';
import { inBatches, mapBounded } from '../lib/concurrent.ts';
import type { AgentOptions } from './context.ts';
import { AgentFailure, errorCode, isStorageError, shown } from './failure.ts';
import { judge, judgeWorker } from './judge.ts';
import { inspectTarget, publishedReport } from './manifest.ts';
import type { Target } from './manifest.ts';
import { changedInputs, PathList } from './manifest-content.ts';
import type { Publication } from './manifest-content.ts';
import { ManifestLists } from './manifest-lists.ts';
import { completeOutputs } from './outputs.ts';
import { syncDirectory } from './paths.ts';
import { conflict, locate } from './places.ts';
import type { Places } from './places.ts';
import { openPlan } from './plan-file.ts';
import type { Plan } from './plan-file.ts';
import type { StepResult } from './prepare.ts';
import { spaceOf } from './space.ts';
import { Tally } from './tally.ts';
import { startVerification, verifyUnit } from './verify.ts';
import { readWorkerRecord, workerFailure } from './worker-record.ts';

const RENAME_TRIES = 5;
/** Units whose verdicts are in memory together. */
const BATCH = 256;
const CONCURRENCY = 8;

export async function publish(request: AgentRequest, options: AgentOptions): Promise<StepResult> {
  const places = await locate(request, options.storeRoot, options.podUid);
  const before = await inspectTarget(places.target.directory, request.identity);
  if (before.kind === 'other') throw conflict(places, before.owner);
  if (before.kind === 'ours') return finish(places, before, options);
  try {
    await verifyAndComplete(request, places, options);
    await moveIntoPlace(request, places);
  } catch (error) {
    // Another pod of this task may have published meanwhile, and removed this one's staging.
    const after = await inspectTarget(places.target.directory, request.identity).catch(() => undefined);
    if (after?.kind === 'ours') return finish(places, after, options);
    throw error;
  }
  const after = await inspectTarget(places.target.directory, request.identity);
  if (after.kind === 'ours') return finish(places, after, options);
  throw new AgentFailure(
    'Storage',
    `${shown(places.target.relative)} is not there after it was published: ask the administrator to check the volume`,
  );
}

async function verifyAndComplete(
  request: AgentRequest,
  places: Places,
  options: AgentOptions,
): Promise<void> {
  const plan = await ownPlan(places);
  if (request.run.worker !== undefined) await checkWorker(places);
  const lists = await ManifestLists.start(places.staging.pod, request.inputs.root);
  try {
    const { tally, changed } = await verifyPlan(request, places, { plan, lists });
    const failure = judge(request, tally, await spaceOf(places.staging.pod));
    if (failure !== undefined) throw failure;
    await lists.finish();
    if (changed.count > 0)
      options.log(`${changed.count} inputs changed while the task ran; the manifest names them`);
    await completeOutputs({ request, places, plan: plan.head, tally, changed, options }, lists);
  } finally {
    await lists.remove();
  }
}

/** Verifies every unit, some at a time, in the order of the plan. */
async function verifyPlan(
  request: AgentRequest,
  places: Places,
  { plan, lists }: { readonly plan: Plan; readonly lists: ManifestLists },
): Promise<Pick<Publication, 'tally' | 'changed'>> {
  const verification = await startVerification(request, places.staging);
  const root = join(places.dataset, request.inputs.root);
  const tally = new Tally();
  const changed = new PathList();
  for await (const units of inBatches(plan.units(), BATCH)) {
    const verdicts = await mapBounded(units, CONCURRENCY, async (unit) => ({
      verdict: await verifyUnit(verification, unit),
      changed: await changedInputs(root, unit),
    }));
    for (const { verdict, changed: paths } of verdicts) {
      lists.add(verdict, tally.add(verdict));
      for (const path of paths) changed.add(path);
    }
    await lists.drain();
  }
  return { tally, changed };
}

/** A worker could write beside its outputs, and so put a link in their place; and it may have said that it failed. */
async function checkWorker(places: Places): Promise<void> {
  const { out, pod, worker } = places.staging;
  const failure = judgeWorker(workerFailure(await readWorkerRecord(worker)), await spaceOf(pod));
  if (failure !== undefined) throw failure;
  if ((await realpath(out).catch(() => undefined)) === out) return;
  throw new AgentFailure('MissingOutput', `the worker removed its own output directory, or put a link there`);
}

async function ownPlan(places: Places): Promise<Plan> {
  const { pod } = places.staging;
  const real = await realpath(pod).catch(() => undefined);
  if (real !== pod) {
    throw new AgentFailure('AgentError', `${shown(pod)} is gone or replaced by a link: start the task again`);
  }
  const plan = await openPlan(places.staging.plan);
  if (plan !== undefined) return plan;
  throw new AgentFailure(
    'AgentError',
    `the staging of this pod has no plan (${shown(places.staging.plan)}): start the task again`,
  );
}

/** The publication: one rename. An empty target directory is replaced by it; a filled one makes it fail. */
async function moveIntoPlace(request: AgentRequest, places: Places): Promise<void> {
  const { directory } = places.target;
  for (let tries = 1; ; tries++) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- a retry
      await rename(places.staging.out, directory);
      break;
    } catch (error) {
      // oxlint-disable-next-line no-await-in-loop -- as above
      const found = await inspectTarget(directory, request.identity);
      if (found.kind === 'other') throw conflict(places, found.owner);
      if (found.kind === 'ours') break;
      if (tries >= RENAME_TRIES || (isStorageError(error) && errorCode(error) !== 'ESTALE')) throw error;
      // oxlint-disable-next-line no-await-in-loop -- as above
      await sleep(100 * tries);
    }
  }
  await syncDirectory(dirname(directory));
  await syncDirectory(places.staging.pod).catch(() => undefined);
}

async function finish(
  places: Places,
  target: Extract<Target, { kind: 'ours' }>,
  options: AgentOptions,
): Promise<StepResult> {
  const { units, retried } = target.head.summary;
  const failed = units.failed > 0 ? `, ${units.failed} failed` : '';
  const message = `published ${units.done} of ${units.total} units in ${shown(places.target.relative)}${failed}${fromRetried(retried)}`;
  const report = await publishedReport(places.target, target.head, {
    message,
    podUid: options.podUid,
  });
  options.log(message);
  return { exitCode: EXIT.ok, report, afterwards: () => removeStaging(places, options) };
}

function fromRetried({ copied, rerun }: Tally['retried'] = { copied: 0, rerun: 0 }): string {
  const again = rerun > 0 ? `, ${rerun} run again because their files had changed there` : '';
  return copied + rerun > 0 ? `; ${copied} copied from the task that is retried${again}` : '';
}

/** The result stands; what is left of the attempts is only in the way. A failure here is for the sweeper. */
async function removeStaging(places: Places, options: AgentOptions): Promise<void> {
  try {
    // One call of the system after the other: the asynchronous one has a promise for every file in memory.
    rmSync(places.staging.task, { recursive: true, force: true, maxRetries: 2 });
    const rest = await readdir(places.staging.allStaging);
    options.log(`removed the staging of this task; ${rest.length} other tasks have staging in this dataset`);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    options.log(
      `cannot remove ${shown(places.staging.task)}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
