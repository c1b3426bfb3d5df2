import { dirname } from 'node:path';
import type { Access } from './kube.ts';
import { NAMESPACE, SYSTEM_NAMESPACE, RELEASE } from './names.ts';
import type { Seen } from './observe.ts';
import { DATASET_PATH } from './dataset.ts';
import { POCKETSPHINX, SILERO, type DemoTask } from './tasks.ts';
import type { Store } from './store.ts';
import { outputFile, resultPath, transcript } from './verify.ts';
import type { Timing } from './steps.ts';

const RTTM_LINES = 4;

/** One block per task: how it ended and what a researcher reads. */
export function outcomeLines(
  task: DemoTask,
  seen: Seen | undefined,
  problems: readonly string[],
): readonly string[] {
  const { phase = 'unknown', reason, message, failedUnits = [], result } = seen?.status ?? {};
  const state = reason === undefined || reason === phase ? phase : `${phase}/${reason}`;
  return [
    `${problems.length === 0 ? 'ok  ' : 'BAD '} ${task.name}: ${state}  (${task.shows})`,
    ...(message === undefined ? [] : [`       ${message}`]),
    ...failedUnits.map((unit) => `       failed: ${unit}`),
    ...(result === undefined
      ? []
      : [`       ${result.files} files, ${result.bytes} bytes in ${result.path}`]),
    ...problems.map((problem) => `       DIFFERS: ${problem}`),
  ];
}

/** What lies below the dataset's outputs for the given tasks, as a tree. */
export async function publishedTree(tasks: readonly DemoTask[], store: Store): Promise<readonly string[]> {
  const blocks = await Promise.all(
    tasks.map(async (task) => {
      const files = await store.list(resultPath(task));
      return files.length === 0 ? [] : [`  ${task.name}/`, ...files.map((file) => `    ${file}`)];
    }),
  );
  return [`${DATASET_PATH}/outputs/`, ...blocks.flat()];
}

/** The first lines of a real RTTM and of a real transcript of this run. */
export async function excerpts(tasks: readonly DemoTask[], store: Store): Promise<readonly string[]> {
  const turns = await firstOutput(tasks, SILERO, store);
  const words = await firstOutput(tasks, POCKETSPHINX, store);
  return [
    ...(turns === undefined
      ? []
      : [
          turns.path,
          ...turns.text
            .split('\n')
            .slice(0, RTTM_LINES)
            .map((line) => `  ${line}`),
        ]),
    ...(words === undefined ? [] : [words.path, ...transcriptLines(words.text)]),
  ];
}

function transcriptLines(text: string): readonly string[] {
  const { segments } = transcript.parse(JSON.parse(text));
  return segments.map(({ start, end, text: said }) => `  ${start.toFixed(2)}-${end.toFixed(2)} s: ${said}`);
}

type Output = { readonly path: string; readonly text: string };

async function firstOutput(
  tasks: readonly DemoTask[],
  model: string,
  store: Store,
): Promise<Output | undefined> {
  const task = tasks.find(({ spec, expect }) => spec.model === model && expect.results.length > 0);
  const [recording] = task?.expect.results ?? [];
  if (task === undefined || recording === undefined) return undefined;
  const path = `${resultPath(task)}/${outputFile(model, recording)}`;
  const text = await store.read(path).catch(() => undefined);
  return text === undefined ? undefined : { path, text };
}

export function timingLines(timings: readonly Timing[]): readonly string[] {
  const total = timings.reduce((sum, { seconds }) => sum + seconds, 0);
  return [...timings, { name: 'in all', seconds: total }].map(
    ({ name, seconds }) => `  ${seconds.toFixed(1).padStart(7)} s  ${name}`,
  );
}

const setup = ({ kubectl, kubeconfig }: Access): readonly string[] => [
  `export KUBECONFIG=${kubeconfig}`,
  ...(kubectl === 'kubectl' ? [] : [`export PATH=${dirname(kubectl)}:$PATH`]),
];

type Around = {
  readonly access: Access;
  readonly tasks: readonly DemoTask[];
  readonly seen: ReadonlyMap<string, Seen>;
  /** Directory of this machine behind the shared volume; undefined where only pods see it. */
  readonly directory?: string | undefined;
};

/** Commands with which somebody can look around in what the demo left. */
export function lookAround({ access, tasks, seen, directory }: Around): readonly string[] {
  const partial = tasks.find(({ expect }) => expect.failed.length > 0);
  const job = tasks
    .map(({ name }) => seen.get(name)?.status.attempt?.jobName)
    .find((name) => name !== undefined);
  return [
    ...setup(access),
    'kubectl get analysismodels',
    `kubectl get analysistasks -n ${NAMESPACE}`,
    ...(partial === undefined ? [] : [`kubectl describe analysistask ${partial.name} -n ${NAMESPACE}`]),
    ...(job === undefined
      ? []
      : [
          `kubectl logs -n ${NAMESPACE} job/${job}                 # the model; -c publish: the verification`,
        ]),
    `kubectl logs -n ${SYSTEM_NAMESPACE} deployment/${RELEASE}      # the operator`,
    `kubectl logs -n ${SYSTEM_NAMESPACE} deployment/${RELEASE}-elsi # elsi-sync`,
    `kubectl get --raw /api/v1/namespaces/${SYSTEM_NAMESPACE}/services/http:elsi-stand-in:8090/proxy/stand-in/audit # what ELSI was told`,
    ...(directory === undefined ? [] : [`ls -R ${directory}/${DATASET_PATH}/outputs`]),
  ];
}

/** Where to look when the demo failed. */
export function whereLogsAre(access: Access): readonly string[] {
  return [
    ...setup(access),
    `kubectl get pods,jobs,events -n ${NAMESPACE} --sort-by=.metadata.creationTimestamp`,
    `kubectl get pods -n ${SYSTEM_NAMESPACE}`,
    `kubectl logs -n ${SYSTEM_NAMESPACE} deployment/${RELEASE} --tail=100`,
  ];
}
