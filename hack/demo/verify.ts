import { createHash } from 'node:crypto';
import { z } from 'zod';
import { STAGING } from '../../src/api/request.ts';
import { DATASET_PATH, type Recording } from './dataset.ts';
import type { Seen } from './observe.ts';
import type { Store } from './store.ts';
import { POCKETSPHINX, SILERO, type DemoTask } from './tasks.ts';

export const transcript = z.object({
  duration: z.number(),
  segments: z.array(
    z.object({ start: z.number(), end: z.number(), text: z.string(), words: z.array(z.unknown()) }),
  ),
});

/** What of a task says what must come of it. */
export type Judgeable = Pick<DemoTask, 'name' | 'expect'> & {
  readonly spec: Pick<DemoTask['spec'], 'model'>;
};

export const resultPath = (task: Pick<DemoTask, 'name'>): string =>
  `${DATASET_PATH}/${STAGING.outputs}/${task.name}`;

/** Path of one recording's output below the task's result. */
export function outputFile(model: string, recording: Recording): string {
  return `raw/${recording.path.replace(/\.wav$/, model === SILERO ? '.rttm' : '.json')}`;
}

/** Everything in which a task differs from what must come of it; empty when it is as expected. */
export async function differences(
  task: Judgeable,
  seen: Seen | undefined,
  store: Store,
): Promise<readonly string[]> {
  if (seen === undefined) return ['the cluster does not show it'];
  const said = statusDifferences(task, seen);
  // The files of a task that ended otherwise would only repeat the first problem.
  return said.length > 0 ? said : fileDifferences(task, seen, store);
}

/** What the status says wrongly. */
export function statusDifferences({ expect }: Pick<DemoTask, 'expect'>, { status }: Seen): readonly string[] {
  const { phase = 'none', reason = 'none', message = '', failedUnits = [] } = status;
  const because = `${reason}: ${message}`;
  if (phase !== expect.phase) return [`phase is ${phase} (${because}) instead of ${expect.phase}`];
  const problems: string[] = [];
  if (expect.reason !== undefined && reason !== expect.reason)
    problems.push(`reason is ${reason} instead of ${expect.reason}`);
  if (expect.message !== undefined && !message.includes(expect.message)) {
    problems.push(`the message ${JSON.stringify(message)} does not name ${expect.message}`);
  }
  for (const { path } of expect.failed) {
    if (!failedUnits.some((unit) => unit.includes(path))) problems.push(`failedUnits does not name ${path}`);
  }
  return problems;
}

async function fileDifferences(task: Judgeable, seen: Seen, store: Store): Promise<readonly string[]> {
  const { expect, spec } = task;
  const published = await store.list(resultPath(task));
  if (expect.results.length === 0) {
    return published.length === 0
      ? []
      : [`${resultPath(task)} holds ${published.length} files, although nothing was to be published`];
  }
  const problems = [...(await manifestDifferences(task, seen, store))];
  for (const recording of expect.failed) {
    if (published.includes(outputFile(spec.model, recording)))
      problems.push(`a result of the broken ${recording.path} was published`);
  }
  const read = await Promise.all(
    expect.results.map((recording) => outputDifferences(task, recording, store)),
  );
  return [...problems, ...read.flat()];
}

async function manifestDifferences(
  task: Judgeable,
  { status }: Seen,
  store: Store,
): Promise<readonly string[]> {
  if (status.result === undefined) return ['status.result is missing'];
  if (status.result.path !== resultPath(task)) return [`status.result.path is ${status.result.path}`];
  const manifest = await store.read(`${status.result.path}/manifest.json`).catch(() => undefined);
  if (manifest === undefined) return [`${status.result.path}/manifest.json is missing`];
  const sha256 = createHash('sha256').update(manifest).digest('hex');
  return sha256 === status.result.manifestSha256
    ? []
    : ['manifest.json does not have the hash that the status gives'];
}

async function outputDifferences(
  task: Judgeable,
  recording: Recording,
  store: Store,
): Promise<readonly string[]> {
  const file = outputFile(task.spec.model, recording);
  const text = await store.read(`${resultPath(task)}/${file}`).catch(() => undefined);
  if (text === undefined) return [`${file} is missing`];
  const problem = task.spec.model === POCKETSPHINX ? transcriptProblem(text, recording) : turnsProblem(text);
  return problem === undefined ? [] : [`${file} ${problem}`];
}

const TURN = /^SPEAKER \S+ 1 \d+\.\d+ \d+\.\d+ <NA> <NA> SPEECH <NA> <NA>$/;

/** Why a text is not the RTTM of a recording with speech. */
export function turnsProblem(text: string): string | undefined {
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length === 0) return 'has no speech turn';
  const odd = lines.find((line) => !TURN.test(line));
  return odd === undefined ? undefined : `has the line ${JSON.stringify(odd)}`;
}

/** Why a text is not a transcript of a recording; where the wording is known, one of its words must be there. */
export function transcriptProblem(text: string, recording: Recording): string | undefined {
  const parsed = transcript.safeParse(JSON.parse(text));
  if (!parsed.success) return 'is not a transcript';
  const said = parsed.data.segments.map((segment) => segment.text).join(' ');
  if (said === '') return 'has no words';
  const { hears } = recording;
  return hears === undefined || said.split(' ').includes(hears)
    ? undefined
    : `does not contain "${hears}": "${said}"`;
}
