import type { IPodTemplateSpec, IPodSpec } from 'kubernetes-models/v1';
import { ANNOTATION, CONTAINER, LABEL, MANAGED_BY, OBSERVE_PORT } from '../api/keys.ts';
import { MODEL_LOOP } from '../api/loop.ts';
import { expandDataset } from '../api/template.ts';
import { WORKER_ENV } from '../api/worker.ts';
import { escapeExpansion } from './escape.ts';
import { DEADLINE_SLACK_SECONDS, type JobDefaults } from './defaults.ts';
import { type AttemptInput, requestOf } from './request.ts';
import { AGENT_NODE_OPTIONS, agentResources, modelResources } from './resources.ts';
import { modelMounts, observeMounts, podVolumes, seedMounts, seedTarget, storeMounts } from './volumes.ts';

type Container = IPodSpec['containers'][number];

/** Nothing in a task's pod needs a privilege: Pod Security `restricted` accepts every container. */
const RESTRICTED: NonNullable<Container['securityContext']> = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
};

export function taskLabels(input: Pick<AttemptInput, 'task' | 'model'>): Record<string, string> {
  return {
    [LABEL.managedBy]: MANAGED_BY,
    [LABEL.name]: 'analysis-task',
    [LABEL.taskUid]: input.task.metadata.uid,
    [LABEL.model]: input.model.metadata.name,
  };
}

/**
 * prepare -> (seed) -> observe (sidecar) -> model -> publish. Init containers run in order, so nothing else is
 * needed to sequence them; publish is the main container, so its exit code is the truth about the task.
 */
export function podTemplate(input: AttemptInput, defaults: JobDefaults): IPodTemplateSpec {
  const { task, model } = input;
  return {
    metadata: {
      labels: taskLabels(input),
      annotations: {
        [ANNOTATION.request]: JSON.stringify(requestOf(input, defaults.operatorVersion)),
        [ANNOTATION.task]: task.metadata.name,
        [ANNOTATION.attempt]: String(input.attempt),
        [ANNOTATION.defaultContainer]: CONTAINER.model,
        [ANNOTATION.safeToEvict]: 'false',
      },
    },
    spec: {
      ...placement(input, defaults),
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      activeDeadlineSeconds: model.spec.failure.runDeadlineSeconds + DEADLINE_SLACK_SECONDS,
      // With 0 every deletion would remove the pod while its containers still run, and nobody could wait for them.
      terminationGracePeriodSeconds: Math.max(1, model.spec.run.terminationGracePeriodSeconds),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: defaults.runAsUser,
        runAsGroup: defaults.runAsGroup,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      volumes: podVolumes(input, defaults),
      initContainers: [
        agentContainer('prepare', defaults),
        ...seedContainer(input, defaults),
        observeContainer(input, defaults),
        modelContainer(input, defaults),
      ],
      containers: [agentContainer('publish', defaults)],
    },
  };
}

function placement({ task, model }: AttemptInput, defaults: JobDefaults): Partial<IPodSpec> {
  const { nodeSelector, tolerations, runtimeClassName, imagePullSecrets } = model.spec;
  const priorityClassName = defaults.priorityClasses[task.spec.priority];
  return {
    ...(priorityClassName ? { priorityClassName } : {}),
    ...(nodeSelector ? { nodeSelector } : {}),
    ...(tolerations ? { tolerations: tolerations.map(withoutUndefined) } : {}),
    ...(runtimeClassName ? { runtimeClassName } : {}),
    ...(imagePullSecrets ? { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) } : {}),
  };
}

type Toleration = NonNullable<IPodSpec['tolerations']>[number];

function withoutUndefined(
  toleration: { [key in keyof Toleration]?: Toleration[key] | undefined },
): Toleration {
  return Object.fromEntries(Object.entries(toleration).filter(([, value]) => value !== undefined));
}

const fromPod = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });

const IDENTITY_ENV = [
  fromPod('POD_UID', 'metadata.uid'),
  fromPod('POD_NAME', 'metadata.name'),
  fromPod('NODE_NAME', 'spec.nodeName'),
];

function agentContainer(step: 'prepare' | 'publish' | 'observe', defaults: JobDefaults): Container {
  return {
    name: CONTAINER[step],
    image: defaults.agentImage,
    imagePullPolicy: defaults.imagePullPolicy,
    args: ['agent', step],
    env: [...IDENTITY_ENV, { name: 'NODE_OPTIONS', value: AGENT_NODE_OPTIONS }],
    securityContext: RESTRICTED,
    resources: agentResources(step),
    volumeMounts: storeMounts(),
    terminationMessagePolicy: 'File',
  };
}

const STARTED = {
  httpGet: { path: '/healthz', port: OBSERVE_PORT },
  periodSeconds: 1,
  timeoutSeconds: 2,
  failureThreshold: 300,
};

/** A native sidecar: it starts before the model and kubelet stops it after publish. */
function observeContainer(input: AttemptInput, defaults: JobDefaults): Container {
  return {
    ...agentContainer('observe', defaults),
    restartPolicy: 'Always',
    // A worker may give up when nothing listens at its first try, so it starts when its queue is there.
    ...(input.model.spec.run.worker ? { startupProbe: STARTED } : {}),
    ports: [{ name: 'progress', containerPort: OBSERVE_PORT }],
    volumeMounts: observeMounts(input),
  };
}

/** Copies what the image holds at a scratch path into the volume that will hide it. The model's image brings the shell. */
function seedContainer(input: AttemptInput, defaults: JobDefaults): Container[] {
  const mounts = seedMounts(input);
  if (mounts.length === 0) return [];
  const pairs = (input.model.spec.run.scratch ?? []).flatMap((s, i) =>
    s.seedFromImage ? [s.path, seedTarget(i)] : [],
  );
  const copy = 'while [ $# -gt 1 ]; do cp -R "$1/." "$2/" || exit 1; shift 2; done';
  return [
    {
      name: CONTAINER.seed,
      image: input.model.spec.image,
      imagePullPolicy: defaults.imagePullPolicy,
      command: ['/bin/sh', '-c', escapeExpansion(copy), 'analysis-seed', ...pairs.map(escapeExpansion)],
      securityContext: RESTRICTED,
      resources: modelResources({ ...input.model.spec, gpu: undefined }),
      volumeMounts: mounts,
      terminationMessagePolicy: 'FallbackToLogsOnError',
    },
  ];
}

function modelContainer(input: AttemptInput, defaults: JobDefaults): Container {
  const { run, image } = input.model.spec;
  return {
    name: CONTAINER.model,
    image,
    imagePullPolicy: defaults.imagePullPolicy,
    ...modelCommand(input),
    env: [
      { name: 'HOME', value: '/tmp' }, // writable for any uid; the catalogue may say otherwise below
      ...(run.worker ? WORKER_VARIABLES : []),
      ...(run.env ?? []).map(({ name, value }) => ({ name, value: escapeExpansion(value) })),
      ...IDENTITY_ENV,
    ],
    ...(run.workingDir ? { workingDir: run.workingDir } : {}),
    securityContext: { ...RESTRICTED, readOnlyRootFilesystem: run.readOnlyRootFilesystem },
    resources: modelResources(input.model.spec),
    volumeMounts: modelMounts(input),
    terminationMessagePolicy: 'FallbackToLogsOnError',
  };
}

const WORKER_VARIABLES = Object.entries(WORKER_ENV).map(([name, value]) => ({ name, value }));

/** Nothing for a worker: the entry point of its image starts it. */
function modelCommand({ task, model, parameters }: AttemptInput): Pick<Container, 'command'> {
  const { run, inputs } = model.spec;
  if (run.worker) return {};
  if (run.per !== 'Dataset')
    return { command: ['/bin/sh', '-c', MODEL_LOOP, 'analysis-loop'].map(escapeExpansion) };
  const command = expandDataset(run.command ?? [], {
    root: inputs.root,
    directory: task.spec.dataset.directory,
    parameters,
  });
  return { command: command.map(escapeExpansion) };
}
