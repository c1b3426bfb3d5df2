import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { runName } from '../../src/elsi/run.ts';
import type { DeployedStandIn } from '../elsi-stand-in/deploy.ts';
import type { AuditEntry } from '../elsi-stand-in/store.ts';
import type { Recording } from './dataset.ts';
import type { Kube } from './kube.ts';
import { NAMESPACE } from './names.ts';
import { readTask, type Seen } from './observe.ts';
import { type Expectation, SILERO } from './tasks.ts';
import type { Store } from './store.ts';
import { differences } from './verify.ts';

/** What the demo's ELSI calls the model. */
const MODEL = 'silero_vad';
const DATASET_LABEL = 'adult-speech';
const UNKNOWN_LABEL = 'lost-recordings';

/** Values of the chart for an ELSI at this address: how its names lead to models and datasets of the cluster. */
export function elsiValues(url: string): Readonly<Record<string, string>> {
  return {
    'elsi.enabled': 'true',
    'elsi.config.elsi.baseUrl': url,
    'elsi.config.intervalSeconds': '2',
    'elsi.config.namespace': NAMESPACE,
    'elsi.config.datasetPath': 'demo-lab/{label}',
    [`elsi.config.models.${MODEL}`]: SILERO,
  };
}

/** A task as somebody asks for it in ELSI, and what must come of it, there and here. */
export interface ElsiDemoTask {
  readonly uid: string;
  readonly shows: string;
  readonly model: string;
  readonly dataset: string;
  /** Statuses that ELSI must be told, in their order. */
  readonly told: readonly string[];
  /** Of the AnalysisTask; undefined: there must be none. */
  readonly expect: Expectation | undefined;
}

export function elsiTasks(recordings: readonly Recording[]): readonly ElsiDemoTask[] {
  const whole = recordings.filter(({ broken }) => broken === undefined);
  const broken = recordings.filter(({ broken: cut }) => cut === true);
  return [
    {
      uid: randomUUID(),
      shows: 'somebody asks for an analysis in ELSI',
      model: MODEL,
      dataset: DATASET_LABEL,
      told: ['RUNNING', 'COMPLETED'],
      expect: { phase: 'PartiallySucceeded', results: whole, failed: broken },
    },
    {
      uid: randomUUID(),
      shows: 'the same for a dataset that is not on the volume',
      model: MODEL,
      dataset: UNKNOWN_LABEL,
      told: ['FAILED'],
      expect: { phase: 'Failed', message: UNKNOWN_LABEL, results: [], failed: [] },
    },
    {
      uid: randomUUID(),
      shows: 'and for a model that elsi-sync is not told about',
      model: 'vtc_9',
      dataset: DATASET_LABEL,
      told: ['FAILED'],
      expect: undefined,
    },
  ];
}

interface Elsi {
  readonly standIn: DeployedStandIn;
  readonly kube: Kube;
  readonly write: (line: string) => void;
}

const DEADLINE_MS = 120_000;
const POLL_MS = 700;

/** Hands the tasks to ELSI and follows what it shows until nothing is open, or the deadline passes. */
export async function runThroughElsi(
  { standIn, write }: Elsi,
  tasks: readonly ElsiDemoTask[],
): Promise<void> {
  for (const { uid, model, dataset } of tasks) {
    const task = { task_uid: uid, model_name: model, dataset_uid_label: dataset };
    // oxlint-disable-next-line no-await-in-loop -- in this order
    await standIn.add(task);
  }
  const shown = new Map<string, string>();
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; ) {
    // oxlint-disable-next-line no-await-in-loop -- one question at a time
    const now = new Map(
      (await standIn.tasks()).map((task) => [task.task_uid, task.status_label.toUpperCase()]),
    );
    for (const { uid, model, dataset } of tasks) {
      const status = now.get(uid) ?? 'nothing';
      if (shown.get(uid) !== status) write(`  ELSI shows ${uid} (${model} over ${dataset}): ${status}`);
      shown.set(uid, status);
    }
    if (tasks.every(({ uid }) => ['COMPLETED', 'FAILED'].includes(shown.get(uid) ?? ''))) return;
    // oxlint-disable-next-line no-await-in-loop -- the pause between two questions
    await sleep(POLL_MS);
  }
}

/** Names of the tasks that differ, each with how. */
export async function judgeElsi(
  { standIn, kube, write }: Elsi,
  tasks: readonly ElsiDemoTask[],
  store: Store,
): Promise<readonly string[]> {
  const audit = await standIn.audit();
  const bad: string[] = [];
  for (const task of tasks) {
    // oxlint-disable-next-line no-await-in-loop -- three tasks, told one after the other
    const seen = await readTask(kube, runName(task.uid, 1));
    const told = wordsTold(audit, task.uid);
    // oxlint-disable-next-line no-await-in-loop -- as above
    const problems = [...toldDifferences(task.told, told), ...(await taskDifferences(task, seen, store))];
    for (const line of elsiLines({ task, told, seen, problems })) write(line);
    if (problems.length > 0) bad.push(`ELSI's ${task.uid}: ${problems.join('; ')}`);
  }
  return bad;
}

/** The statuses that a task's PUTs told, repeated ones once. */
export function wordsTold(audit: readonly AuditEntry[], uid: string): readonly string[] {
  const words = audit.flatMap((entry) => (entry.uid === uid && entry.status ? [entry.status] : []));
  return words.filter((word, index) => word !== words[index - 1]);
}

const rest = (words: readonly string[]): string => words.filter((word) => word !== 'RUNNING').join(', ');

/** RUNNING may be left out: a short task can be over before anybody saw it run. */
export function toldDifferences(wanted: readonly string[], told: readonly string[]): string[] {
  const inOrder = told.indexOf('RUNNING') <= 0;
  return inOrder && rest(told) === rest(wanted)
    ? []
    : [`ELSI was told ${told.join(', ') || 'nothing'} instead of ${wanted.join(', ')}`];
}

async function taskDifferences(
  { uid, expect }: ElsiDemoTask,
  seen: Seen | undefined,
  store: Store,
): Promise<readonly string[]> {
  if (!expect) return seen ? [`there is an AnalysisTask ${seen.name}`] : [];
  return differences({ name: uid, spec: { model: SILERO }, expect }, seen, store);
}

interface Line {
  readonly task: ElsiDemoTask;
  readonly told: readonly string[];
  readonly seen: Seen | undefined;
  readonly problems: readonly string[];
}

function elsiLines({ task, told, seen, problems }: Line): readonly string[] {
  const { phase = 'none', reason, message } = seen?.status ?? {};
  const state = reason === undefined || reason === phase ? phase : `${phase}/${reason}`;
  return [
    `${problems.length === 0 ? 'ok  ' : 'BAD '} ${task.uid}: PENDING, then told ${told.join(', ')}  (${task.shows})`,
    seen ? `       AnalysisTask ${seen.name}: ${state}` : '       no AnalysisTask: see the log of elsi-sync',
    ...(message === undefined ? [] : [`       ${message}`]),
    ...problems.map((problem) => `       DIFFERS: ${problem}`),
  ];
}
