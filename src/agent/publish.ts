/**
 * Last container of a task's pod; its exit code is the task's truth. Verify, judge, complete `out` with manifest and
 * metannots, flush, one rename. Any error before the rename leaves the target untouched; after any error of the rename
 * itself the target's manifest decides. Executed again after a crash, it finds either its plan or its manifest.
 */
import { readdir, realpath, rename, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentRequest } from '../api/request.ts';
import { EXIT } from '../api/request.ts';
import type { AgentOptions } from './context.ts';
import { AgentFailure, errorCode, isStorageError, shown } from './failure.ts';
import { judge } from './judge.ts';
import type { Space } from './judge.ts';
import { inspectTarget, publishedReport } from './manifest.ts';
import type { Target } from './manifest.ts';
import { completeOutputs } from './outputs.ts';
import { syncDirectory } from './paths.ts';
import { conflict, locate } from './places.ts';
import type { Places } from './places.ts';
import { readPlan } from './plan-file.ts';
import type { Plan } from './plan-file.ts';
import type { StepResult } from './prepare.ts';
import { verifyUnits } from './verify.ts';

const RENAME_TRIES = 5;

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
  const verdicts = await verifyUnits(request, places.staging, plan.units);
  const failure = judge(request, verdicts, await spaceOf(places.staging.pod));
  if (failure !== undefined) throw failure;
  await completeOutputs({ request, places, plan, verdicts, options });
}

async function ownPlan(places: Places): Promise<Plan> {
  const { pod } = places.staging;
  const real = await realpath(pod).catch(() => undefined);
  if (real !== pod) {
    throw new AgentFailure('AgentError', `${shown(pod)} is gone or replaced by a link: start the task again`);
  }
  const plan = await readPlan(places.staging.plan);
  if (plan !== undefined) return plan;
  throw new AgentFailure(
    'AgentError',
    `the staging of this pod has no plan (${shown(places.staging.plan)}): start the task again`,
  );
}

async function spaceOf(directory: string): Promise<Space> {
  const { bavail, blocks, bsize } = await statfs(directory);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
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
  const { units } = target.head.summary;
  const failed = units.failed > 0 ? `, ${units.failed} failed` : '';
  const message = `published ${units.done} of ${units.total} units in ${shown(places.target.relative)}${failed}`;
  const report = await publishedReport(places.target, target.head, message);
  options.log(message);
  await removeStaging(places, options);
  return { exitCode: EXIT.ok, report };
}

/** The result stands; what is left of the attempts is only in the way. A failure here is for the sweeper. */
async function removeStaging(places: Places, options: AgentOptions): Promise<void> {
  try {
    await rm(places.staging.task, { recursive: true, force: true, maxRetries: 2 });
    const rest = await readdir(places.staging.allStaging);
    options.log(`removed the staging of this task; ${rest.length} other tasks have staging in this dataset`);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    options.log(
      `cannot remove ${shown(places.staging.task)}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
