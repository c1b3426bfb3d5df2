import type { IPodSpec } from 'kubernetes-models/v1';
import { ANNOTATION } from '../api/keys.ts';
import { MOUNT, REQUEST_FILE, STAGING } from '../api/request.ts';
import { escapeExpansion } from './escape.ts';
import type { JobDefaults } from './defaults.ts';
import type { AttemptInput } from './request.ts';

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
    { name: 'store', mountPath: MOUNT.data, subPath: input.task.spec.dataset.path, readOnly: true },
    { name: 'store', mountPath: MOUNT.out, subPathExpr: `${staging}/${STAGING.out}` },
    ...loop,
    { name: 'tmp', mountPath: '/tmp' },
    ...(run.shm ? [{ name: 'shm', mountPath: '/dev/shm' }] : []),
    ...(run.scratch ?? []).map((s, i) => ({ name: `scratch-${i}`, mountPath: s.path })),
  ];
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
