/** What the pod of a task would find on the store, asked before there is one. Writes nothing. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentRequest } from '../api/request.ts';
import { MOUNT } from '../api/request.ts';
import type { SurveyAnswer } from '../api/store.ts';
import { AgentFailure, isMissing, shown, toFailure } from './failure.ts';
import { inspectTarget } from './manifest.ts';
import { conflict, locate } from './places.ts';
import { planTask, RequirementsMissing } from './planning.ts';
import { shorten } from './report.ts';
import { spaceOf } from './space.ts';
import type { Census } from './summary.ts';

/** Only to name a staging directory that is never made. */
const NO_POD = 'survey';
const MESSAGE_CHARS = 900;

/** Throws AgentFailure of another category when the store itself is at fault: then nothing is known about the task. */
export async function survey(request: AgentRequest, storeRoot: string): Promise<SurveyAnswer> {
  try {
    return await look(request, storeRoot).catch(async (error: unknown) => {
      if (!(error instanceof AgentFailure) || !isMissing(error.cause)) throw error;
      await refresh(storeRoot, request.dataset.path);
      return look(request, storeRoot);
    });
  } catch (error) {
    const { category, message } = toFailure(error);
    if (error instanceof RequirementsMissing) return answer('RequirementsMissing', message);
    if (category !== 'InvalidInput' && category !== 'OutputConflict') throw error;
    return { ...answer('Refused', message), category };
  }
}

/**
 * This agent lives long, and a network file system remembers for a while that a name was missing. Listing the
 * directories on the way makes it ask the server again, so that a dataset that was just copied is not refused.
 */
async function refresh(storeRoot: string, dataset: string): Promise<void> {
  const segments = dataset.split('/');
  for (const count of segments.keys()) {
    // oxlint-disable-next-line no-await-in-loop -- from the top down
    await readdir(join(storeRoot, ...segments.slice(0, count))).catch(() => undefined);
  }
}

async function look(request: AgentRequest, storeRoot: string): Promise<SurveyAnswer> {
  const places = await locate(request, storeRoot, NO_POD);
  const target = await inspectTarget(places.target.directory, request.identity);
  if (target.kind === 'other') throw conflict(places, target.owner);
  if (target.kind === 'ours')
    return answer('Published', `already published in ${shown(places.target.relative)}`);
  // How much is annotated is not asked for here: no annotation is read.
  const inputs = { ...request.inputs, effort: 'Bytes' as const };
  const { census } = await planTask({ ...request, inputs }, places, {
    dataMount: MOUNT.data,
    outMount: MOUNT.out,
  });
  const space = await spaceOf(places.dataset);
  return { ...answer('Ready', census.describe()), effort: effortOf(census), space };
}

function answer(verdict: SurveyAnswer['verdict'], message: string): SurveyAnswer {
  return { v: 1, verdict, message: shorten(message, MESSAGE_CHARS) };
}

function effortOf({ total, lost, inputs, inputBytes, audioSeconds }: Census): SurveyAnswer['effort'] {
  return { units: total, unitsRefused: lost.count, inputs, inputBytes, audioSeconds };
}
