import process from 'node:process';
import { deployStandIn, type DeployedStandIn } from '../elsi-stand-in/deploy.ts';
import type { DeployedPeer } from '../peers/deploy.ts';
import { peerImage } from '../peers/image.ts';
import { callbackValues, deployReceiver, judgeCallbacks } from './callbacks.ts';
import { openCluster, type Cluster } from './cluster.ts';
import { makeDataset, DATASET_PATH, type Dataset } from './dataset.ts';
import { MODEL_IMAGES, OPERATOR_REPOSITORY, operatorImage } from './images.ts';
import { applyModels, createNamespaces, createStore, installChart } from './install.ts';
import { elsiTasks, elsiValues, judgeElsi, runThroughElsi } from './elsi.ts';
import { createKube, type Kube } from './kube.ts';
import { NAMESPACE, SYSTEM_NAMESPACE } from './names.ts';
import { followTasks, nextRun, type Seen } from './observe.ts';
import { excerpts, lookAround, outcomeLines, publishedTree, timingLines, whereLogsAre } from './report.ts';
import { diagnose } from './diagnose.ts';
import { createSteps, type Steps } from './steps.ts';
import type { Store } from './store.ts';
import { createLive } from './table.ts';
import { demoTasks, refusedTask, taskObject, type DemoTask } from './tasks.ts';
import { differences } from './verify.ts';

type Write = (line: string) => void;

/** How long the tasks may take together; on two cores they need about 40 s. */
const TASKS_DEADLINE_MS = 300_000;

/** The whole demo; the exit code of the process. */
export async function demo(write: Write): Promise<number> {
  const steps = createSteps(write);
  const cluster = await steps.step('cluster', () => openCluster(write));
  const kube = createKube(cluster.access);
  try {
    const { store, dataset, standIn, receiver } = await prepare({ cluster, kube, steps, write });
    const run = await nextRun(kube, store);
    const refused = await steps.step('a task that must be refused', () => tryRefused(kube, run, write));
    const tasks = demoTasks(run, dataset.recordings);
    const seen = await steps.step(`run ${run}: ${tasks.length} tasks`, () => runTasks({ kube, tasks, run }));
    const bad = await steps.step('compare with what is expected', () => judge({ tasks, seen, store, write }));
    const untold = await steps.step('callbacks', () => judgeCallbacks(receiver, tasks, write));
    const asked = elsiTasks(dataset.recordings);
    const elsi = { standIn, kube, write };
    await steps.step(`${asked.length} tasks of ELSI (a stand-in: the real one is closed)`, () =>
      runThroughElsi(elsi, asked),
    );
    const badElsi = await steps.step('compare what ELSI was told', () => judgeElsi(elsi, asked, store));
    await show({ tasks, seen, store, steps, cluster, write });
    const escaped = refused ? [] : ['the API server stored a task whose dataset path leaves the store'];
    return verdict([...escaped, ...bad, ...untold, ...badElsi], tasks.length + 1 + asked.length, write);
  } catch (error) {
    for (const [title, lines] of [
      ['What runs', await diagnose(kube)],
      ['Where to look', whereLogsAre(cluster.access)],
    ] as const) {
      write('');
      write(`${title}:`);
      for (const line of lines) write(`  ${line}`);
    }
    throw error;
  }
}

type Setup = { readonly cluster: Cluster; readonly kube: Kube; readonly steps: Steps; readonly write: Write };

async function prepare({ cluster, kube, steps, write }: Setup): Promise<{
  readonly store: Store;
  readonly dataset: Dataset;
  readonly standIn: DeployedStandIn;
  readonly receiver: DeployedPeer;
}> {
  const dataset = await steps.step('real speech', () => makeDataset((text) => write(`    ${text}`)));
  write(
    `    ${dataset.recordings.length} recordings, ${dataset.seconds.toFixed(1)} s of sound; none of it is children's speech`,
  );
  for (const missing of dataset.missing) write(`    left out: ${missing}`);
  const images = await steps.step('images', async () => {
    const own = {
      operator: await operatorImage(),
      elsi: await peerImage('elsi-stand-in'),
      receiver: await peerImage('callback-receiver'),
    };
    await cluster.provide([...MODEL_IMAGES, ...Object.values(own)]);
    return own;
  });
  const store = await steps.step('namespaces and shared volume', async () => {
    await createNamespaces(kube);
    await createStore(kube, await cluster.volume());
    return cluster.store(kube);
  });
  const { standIn, receiver } = await steps.step(
    'a stand-in for ELSI, a receiver of callbacks',
    async () => ({
      standIn: await deployStandIn(kube, SYSTEM_NAMESPACE, images.elsi.tag),
      receiver: await deployReceiver(kube, images.receiver.tag),
    }),
  );
  const image = { repository: OPERATOR_REPOSITORY, tag: images.operator.version };
  const values = { ...elsiValues(standIn.url), ...callbackValues(receiver.url) };
  await steps.step('operator and elsi-sync (Helm chart)', () => installChart(cluster.access, image, values));
  await steps.step('catalogue of models', () => applyModels(kube));
  await steps.step(`dataset ${DATASET_PATH} on the volume`, () => layDataset(store, dataset, write));
  await Promise.all([standIn.ready(), receiver.ready()]);
  return { store, dataset, standIn, receiver };
}

// Inputs that change while an earlier task still reads them would make it fail.
async function layDataset(store: Store, dataset: Dataset, write: Write): Promise<void> {
  const present = new Set(await store.list(DATASET_PATH));
  if (dataset.files.every((file) => present.has(file))) {
    write('    there already');
    return;
  }
  await store.put(dataset.directory, DATASET_PATH);
}

/** True when the API server refused the task with the message expected. */
async function tryRefused(kube: Kube, run: number, write: Write): Promise<boolean> {
  const { object, says } = refusedTask(run);
  const { code, stderr } = await kube.attempt(['apply', '-f', '-'], JSON.stringify(object));
  write(`    ${stderr.trim().split('\n')[0] ?? ''}`);
  return code !== 0 && stderr.includes(says);
}

type Run = { readonly kube: Kube; readonly tasks: readonly DemoTask[]; readonly run: number };

async function runTasks({ kube, tasks, run }: Run): Promise<ReadonlyMap<string, Seen>> {
  // The task that waits for a model would wait for a day; only the newest is there to be looked at.
  await kube.run([
    'delete',
    'analysistask',
    '--ignore-not-found',
    '-n',
    NAMESPACE,
    `unknown-model-${run - 1}`,
  ]);
  await kube.apply(tasks.map(({ name, spec }) => taskObject(name, run, spec)));
  const live = createLive(tasks, {
    isTTY: process.stdout.isTTY,
    columns: process.stdout.columns ?? 120,
    write: (text) => process.stdout.write(text),
    now: Date.now,
  });
  return followTasks(kube, tasks, { run, deadlineMs: TASKS_DEADLINE_MS, show: live.show });
}

type Judged = {
  readonly tasks: readonly DemoTask[];
  readonly seen: ReadonlyMap<string, Seen>;
  readonly store: Store;
  readonly write: Write;
};

/** Names of the tasks that differ, each with how. */
async function judge({ tasks, seen, store, write }: Judged): Promise<readonly string[]> {
  const found = await Promise.all(
    tasks.map(async (task) => ({ task, problems: await differences(task, seen.get(task.name), store) })),
  );
  for (const { task, problems } of found) {
    for (const line of outcomeLines(task, seen.get(task.name), problems)) write(line);
  }
  return found
    .filter(({ problems }) => problems.length > 0)
    .map(({ task, problems }) => `${task.name}: ${problems.join('; ')}`);
}

type Shown = {
  readonly tasks: readonly DemoTask[];
  readonly seen: ReadonlyMap<string, Seen>;
  readonly store: Store;
  readonly steps: Steps;
  readonly cluster: Cluster;
  readonly write: Write;
};

async function show({ tasks, seen, store, steps, cluster, write }: Shown): Promise<void> {
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['Published', await publishedTree(tasks, store)],
    ['Results', await excerpts(tasks, store)],
    ['Time', timingLines(steps.timings)],
    ['Look around', lookAround({ access: cluster.access, tasks, seen, directory: cluster.directory })],
    ['Remove everything', ['make demo-clean']],
  ];
  for (const [title, lines] of sections) {
    write('');
    write(`${title}:`);
    for (const line of lines) write(`  ${line}`);
  }
  write('');
}

function verdict(problems: readonly string[], tasks: number, write: Write): number {
  if (problems.length === 0) {
    write(`DEMO OK: ${tasks} tasks finished as expected`);
    return 0;
  }
  for (const problem of problems) write(`DIFFERS: ${problem}`);
  write(
    `DEMO FAILED: ${problems.length} of ${tasks} tasks did not finish as expected; logs: kubectl get events -n ${NAMESPACE}`,
  );
  return 1;
}
