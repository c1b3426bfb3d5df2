/**
 * How a worker of the labs is served (`run.worker: Redis`): it takes one task from a queue and reports there, and it
 * looks for `<datasets>/<dataset>`, below which it writes `outputs/<task>`. Both names have to be UUIDs, because older
 * workers parse them.
 */

export const WORKER = {
  /** Containers of a pod share its loopback, and nothing outside reaches it. */
  host: '127.0.0.1',
  port: 6379,
  /** Where the worker's container sees its dataset; the path that the labs' own deployment uses. */
  datasets: '/app/datasets',
} as const;

/** What the worker's environment says about its surroundings; workers refuse to start without them. */
export const WORKER_ENV = {
  REDIS_HOST: WORKER.host,
  REDIS_PORT: String(WORKER.port),
  DATASETS_DIR: WORKER.datasets,
  /** Must exist; nothing that is written there is kept. */
  ECHOLALIA_DIR: '/tmp',
} as const;

/** What the names of a worker's task are made of. */
export interface WorkerSource {
  readonly identity: string;
  readonly taskUid: string;
  readonly datasetPath: string;
}

/** The names under which a worker knows its task and its dataset. */
export interface WorkerNames {
  readonly task: string;
  readonly dataset: string;
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** ELSI's uid of the task and the UUID at the end of the dataset's name, so that logs can be matched; else the task's own. */
export function workerNames({ identity, taskUid, datasetPath }: WorkerSource): WorkerNames {
  const task = UUID.exec(identity)?.[0] ?? taskUid;
  const dataset = UUID.exec(datasetPath)?.[0] ?? taskUid;
  return { task: task.toLowerCase(), dataset: dataset.toLowerCase() };
}

/** Where the worker's container sees its dataset. */
export function workerDataset(source: WorkerSource): string {
  return `${WORKER.datasets}/${workerNames(source).dataset}`;
}
