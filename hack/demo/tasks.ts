import { API_VERSION } from '../../src/api/keys.ts';
import type { Phase, TaskSpecInput } from '../../src/api/task.ts';
import { ENDPOINT } from './callbacks.ts';
import { DATASET_PATH, type Recording } from './dataset.ts';
import { NAMESPACE, RUN_LABEL } from './names.ts';

export const SILERO = 'silero-vad-6-2-3';
export const POCKETSPHINX = 'pocketsphinx-5-1-1';

/** How the task must end, or stand still; the program compares it with what the cluster says. */
export type Expectation = {
  readonly phase: Phase;
  readonly reason?: string;
  /** Text that status.message must contain. */
  readonly message?: string;
  /** Recordings with a result; the files are opened and read. */
  readonly results: readonly Recording[];
  /** Recordings that status.failedUnits must name. */
  readonly failed: readonly Recording[];
};

/** A task of the demo, what it shows, and what must come of it. */
export type DemoTask = {
  readonly name: string;
  readonly shows: string;
  readonly spec: TaskSpecInput;
  /** The demo cancels it as soon as it runs. */
  readonly cancel?: true;
  readonly expect: Expectation;
};

/** The tasks of one run. Names carry the run's number, so every run really computes. */
export function demoTasks(run: number, recordings: readonly Recording[]): readonly DemoTask[] {
  const within = (directory: string) => recordings.filter(({ path }) => path.startsWith(`${directory}/`));
  const whole = recordings.filter(({ broken }) => broken === undefined);
  const broken = recordings.filter(({ broken: cut }) => cut === true);
  const nothing = { results: [], failed: [] } as const;
  return [
    {
      name: `speech-turns-${run}`,
      shows: 'a voice activity detector over one speaker',
      spec: {
        model: SILERO,
        dataset: { path: DATASET_PATH, directory: 'adult-2' },
        parameters: { threshold: '0.4' },
        callbacks: [ENDPOINT],
      },
      expect: { phase: 'Succeeded', results: within('adult-2'), failed: [] },
    },
    {
      name: `transcripts-${run}`,
      shows: 'a speech recogniser over the same speaker',
      spec: { model: POCKETSPHINX, dataset: { path: DATASET_PATH, directory: 'adult-2' } },
      expect: { phase: 'Succeeded', results: within('adult-2'), failed: [] },
    },
    {
      name: `all-speakers-${run}`,
      shows: 'the whole dataset, in which one recording is broken',
      spec: { model: SILERO, dataset: { path: DATASET_PATH } },
      expect: { phase: 'PartiallySucceeded', results: whole, failed: broken },
    },
    {
      name: `cancelled-${run}`,
      shows: 'somebody changes their mind while it runs',
      spec: {
        model: POCKETSPHINX,
        dataset: { path: DATASET_PATH, directory: 'adult-1' },
        callbacks: [ENDPOINT],
      },
      cancel: true,
      expect: { phase: 'Cancelled', ...nothing },
    },
    {
      name: `unknown-model-${run}`,
      shows: 'a model that nobody has installed yet',
      spec: { model: 'voice-type-classifier-9', dataset: { path: DATASET_PATH } },
      expect: { phase: 'Pending', reason: 'ModelNotFound', message: 'voice-type-classifier-9', ...nothing },
    },
  ];
}

/** A task that the API server must not even store, and what it must say. */
export function refusedTask(run: number): { readonly object: object; readonly says: string } {
  const spec: TaskSpecInput = { model: SILERO, dataset: { path: '../other-lab/recordings' } };
  return { object: taskObject(`escape-${run}`, run, spec), says: 'dataset.path must be a relative path' };
}

export function taskObject(name: string, run: number, spec: TaskSpecInput): object {
  return {
    apiVersion: API_VERSION,
    kind: 'AnalysisTask',
    metadata: { name, namespace: NAMESPACE, labels: { [RUN_LABEL]: String(run) } },
    spec,
  };
}
