import type { IPodSpec } from 'kubernetes-models/v1';
import { ANNOTATION } from '../api/keys.ts';
import { MOUNT, REQUEST_FILE, STAGING } from '../api/request.ts';
import { workerDataset } from '../api/worker.ts';
import { escapeExpansion } from './escape.ts';
import type { JobDefaults } from './defaults.ts';
import { type AttemptInput, identityOf } from './request.ts';

type Volume = NonNullable<IPodSpec['volumes']>[number];
type Mount = NonNullable<IPodSpec['containers'][number]['volumeMounts']>[number];

/** Quantity that bounds /tmp of every container, so that a runaway log cannot fill the node. */
const TMP_LIMIT = '1Gi';

export function podVolumes({ model }: AttemptInput, defaults: JobDefaults): Volume[] {
  const { run } = model.spec;
  return [
    { name: 'store', persistentVolumeClaim: { claimName: defaults.claimName } },
    {
      name: 'request',
      downwardAPI: {
        items: [
          { path: REQUEST_FILE, fieldRef: { fieldPath: `metadata.annotations['${ANNOTATION.request}']` } },
        ],
      },
    },
    { name: 'tmp', emptyDir: { sizeLimit: TMP_LIMIT } },
    ...(run.shm ? [{ name: 'shm', emptyDir: { medium: 'Memory', sizeLimit: run.shm } }] : []),
    ...(run.scratch ?? []).map((s, i) => ({
      name: `scratch-${i}`,
      emptyDir: s.sizeLimit ? { sizeLimit: s.sizeLimit } : {},
    })),
  ];
}

const request: Mount = { name: 'request', mountPath: MOUNT.request, readOnly: true };
const store: Mount = { name: 'store', mountPath: MOUNT.store };

/** prepare and publish see the whole store: they create the staging directory and rename it. */
export function storeMounts(): Mount[] {
  return [store, request];
}

/** observe sees its own pod's staging directory and nothing else. */
export function observeMounts(input: AttemptInput): Mount[] {
  return [{ name: 'store', mountPath: MOUNT.staging, subPathExpr: stagingPath(input) }, request];
}

/**
 * The model reads the dataset and writes its staging directory: siblings, never nested, so that neither mount
 * hides the other and a container of an earlier pod writes elsewhere.
 */
export function modelMounts(input: AttemptInput): Mount[] {
  const { run } = input.model.spec;
  const staging = stagingPath(input);
  const loop: Mount[] =
    run.per === 'Dataset'
      ? []
      : [{ name: 'store', mountPath: MOUNT.control, subPathExpr: `${staging}/${STAGING.control}` }];
  return [
    ...(run.worker ? workerMounts(input) : [datasetMount(input, MOUNT.data), outputsMount(input, MOUNT.out)]),
    ...loop,
    { name: 'tmp', mountPath: '/tmp' },
    ...(run.shm ? [{ name: 'shm', mountPath: '/dev/shm' }] : []),
    ...(run.scratch ?? []).map((s, i) => ({ name: `scratch-${i}`, mountPath: s.path })),
  ];
}

/**
 * A worker writes below its dataset, so its outputs are the one mount inside another. The place is sure to be there:
 * prepare has made `<dataset>/outputs`. What was published is hidden from the worker, and so cannot be touched by it.
 */
function workerMounts(input: AttemptInput): Mount[] {
  const { metadata, spec } = input.task;
  const path = workerDataset({
    identity: identityOf(input.task),
    taskUid: metadata.uid,
    datasetPath: spec.dataset.path,
  });
  return [datasetMount(input, path), outputsMount(input, `${path}/${STAGING.outputs}`)];
}

function datasetMount({ task }: AttemptInput, mountPath: string): Mount {
  return { name: 'store', mountPath, subPath: task.spec.dataset.path, readOnly: true };
}

function outputsMount(input: AttemptInput, mountPath: string): Mount {
  return { name: 'store', mountPath, subPathExpr: `${stagingPath(input)}/${STAGING.out}` };
}

/** Where the seed step sees the scratch volumes, beside the image's own content at the same paths. */
export function seedTarget(index: number): string {
  return `/analysis-seed/${index}`;
}

export function seedMounts({ model }: AttemptInput): Mount[] {
  return (model.spec.run.scratch ?? []).flatMap((s, i) =>
    s.seedFromImage ? [{ name: `scratch-${i}`, mountPath: seedTarget(i) }] : [],
  );
}

/** One staging directory per pod: even a forgotten container of the same task cannot write into it. */
function stagingPath({ task }: AttemptInput): string {
  const dataset = escapeExpansion(task.spec.dataset.path);
  return `${dataset}/${STAGING.outputs}/${STAGING.staging}/${task.metadata.uid}/$(POD_UID)`;
}
