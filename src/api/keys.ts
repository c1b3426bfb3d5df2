/** Every name that the operator writes into the cluster: group, labels, annotations, finalizers. */

export const GROUP = 'analysis.elsi.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}`;

/** Labels on every Job and pod of a task. Values that change go into annotations. */
export const LABEL = {
  managedBy: 'app.kubernetes.io/managed-by',
  name: 'app.kubernetes.io/name',
  taskUid: `${GROUP}/task-uid`,
  model: `${GROUP}/model`,
  kueueQueue: 'kueue.x-k8s.io/queue-name',
  /** Where a task comes from, if not from a person. */
  origin: `${GROUP}/origin`,
  /** ELSI's uid of the task. */
  elsiTask: `${GROUP}/elsi-task`,
} as const;

export const ANNOTATION = {
  attempt: `${GROUP}/attempt`,
  /** The agent's instructions, one JSON document (request.ts). */
  request: `${GROUP}/request`,
  task: `${GROUP}/task`,
  elsiDataset: `${GROUP}/elsi-dataset`,
  elsiModel: `${GROUP}/elsi-model`,
  elsiUser: `${GROUP}/elsi-user`,
  defaultContainer: 'kubectl.kubernetes.io/default-container',
  safeToEvict: 'cluster-autoscaler.kubernetes.io/safe-to-evict',
} as const;

/** Value of the label origin on tasks that elsi-sync made. */
export const ORIGIN_ELSI = 'elsi';

/** Each holds a task until somebody outside has learnt its end; whoever tells them removes it. */
export const FINALIZER = {
  elsi: `${GROUP}/elsi`,
  callbacks: `${GROUP}/callbacks`,
} as const;

export const MANAGED_BY = 'analysis-operator';

/** Containers of a task's pod, in the order in which they start (architecture: pod shape). */
export const CONTAINER = {
  prepare: 'prepare',
  seed: 'seed',
  observe: 'observe',
  model: 'model',
  publish: 'publish',
} as const;

/** Port of the observe sidecar on the pod network. */
export const OBSERVE_PORT = 9808;

/** Port of the store agent on the pod network. */
export const STORE_AGENT_PORT = 9809;
