import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { ANNOTATION, LABEL, MANAGED_BY } from '../../src/api/keys.ts';
import type { JobView, PodView } from '../../src/jobs/views.ts';
import { eventually } from '../support/eventually.ts';
import { type Hands, handsIn, type Resource } from './rig/hands.ts';
import { row, type RowOptions } from './rig/row.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

interface Edit {
  readonly resource: Extract<Resource, 'jobs' | 'pods'>;
  /** A merge patch of the metadata, or of the status. */
  readonly patch: (objects: { readonly other: string; readonly otherJob: JobView }) => object;
  /** How many attempts it may cost. @default 1 */
  readonly attempts?: number;
  /** What the edit does by itself, before any operator can act. */
  readonly allowed?: (violation: string) => boolean;
  readonly smoke?: boolean;
}

const labels = (changed: Readonly<Record<string, string | null>>) => () => ({
  metadata: { labels: changed },
});
const annotations = (changed: Readonly<Record<string, string | null>>) => () => ({
  metadata: { annotations: changed },
});

/** The Job controller replaces a pod that it no longer takes for its own, while that one may still run. */
const replacesPod = (violation: string): boolean => /^(O2 2 pods for one Job|I3 )/.test(violation);

const EDITS: Readonly<Record<string, Edit>> = {
  'job-label-task-removed': { resource: 'jobs', patch: labels({ [LABEL.taskUid]: null }), smoke: true },
  'job-label-task-of-another': {
    resource: 'jobs',
    patch: ({ other }) => ({ metadata: { labels: { [LABEL.taskUid]: other } } }),
  },
  'job-label-managed-by-removed': { resource: 'jobs', patch: labels({ [LABEL.managedBy]: null }) },
  'job-labels-removed': { resource: 'jobs', patch: () => ({ metadata: { labels: null } }) },
  // The API server gives a Job without any label those of its template: one has to stay.
  'job-labels-replaced': {
    resource: 'jobs',
    patch: labels({ [LABEL.managedBy]: null, [LABEL.taskUid]: null, mine: 'x' }),
  },
  'job-annotation-attempt-later': { resource: 'jobs', patch: annotations({ [ANNOTATION.attempt]: '7' }) },
  'job-annotation-attempt-garbage': { resource: 'jobs', patch: annotations({ [ANNOTATION.attempt]: 'x' }) },
  'job-annotations-removed': { resource: 'jobs', patch: () => ({ metadata: { annotations: null } }) },
  'job-owner-removed': { resource: 'jobs', patch: () => ({ metadata: { ownerReferences: null } }) },
  'job-owner-no-controller': {
    resource: 'jobs',
    patch: ({ other }) => ({ metadata: { ownerReferences: [ownedBy('other', other, false)] } }),
  },
  'job-owner-another-task': {
    resource: 'jobs',
    patch: ({ other }) => ({ metadata: { ownerReferences: [ownedBy('other', other, true)] } }),
    attempts: 2,
  },
  'job-owner-unknown': {
    resource: 'jobs',
    // The garbage collector deletes what belongs to nothing that exists.
    patch: () => ({ metadata: { ownerReferences: [ownedBy('t', 'no-such-uid', true)] } }),
    attempts: 2,
  },
  'pod-label-task-removed': { resource: 'pods', patch: labels({ [LABEL.taskUid]: null }) },
  'pod-label-task-of-another': {
    resource: 'pods',
    patch: ({ other }) => ({ metadata: { labels: { [LABEL.taskUid]: other } } }),
  },
  'pod-label-managed-by-removed': { resource: 'pods', patch: labels({ [LABEL.managedBy]: null }) },
  'pod-annotations-removed': { resource: 'pods', patch: () => ({ metadata: { annotations: null } }) },
  'pod-label-of-its-job-removed': {
    resource: 'pods',
    patch: labels({ 'batch.kubernetes.io/controller-uid': null }),
    attempts: 2,
    allowed: replacesPod,
  },
  'pod-labels-removed': {
    resource: 'pods',
    patch: () => ({ metadata: { labels: null } }),
    attempts: 2,
    allowed: replacesPod,
  },
  'pod-owner-removed': {
    resource: 'pods',
    patch: () => ({ metadata: { ownerReferences: null } }),
    attempts: 2,
    allowed: replacesPod,
  },
  'pod-owner-another-job': {
    resource: 'pods',
    patch: ({ otherJob }) => ({ metadata: { ownerReferences: [jobOwner(otherJob)] } }),
    attempts: 2,
    allowed: replacesPod,
  },
};

function ownedBy(name: string, uid: string, controller: boolean): object {
  return { apiVersion: 'analysis.elsi.dev/v1alpha1', kind: 'AnalysisTask', name, uid, controller };
}

function jobOwner({ metadata: { name, uid } }: JobView): object {
  return { apiVersion: 'batch/v1', kind: 'Job', name, uid, controller: true };
}

/** Task `t` is tampered with while its model runs; task `other`, which runs beside it, is what the edits point to. */
async function edited(world: World, edit: Edit): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ runMs: 2500 }));
  world.node.script('other', () => ({ runMs: 4000 }));
  await world.operator();
  await world.submit('other');
  await world.submit('t');
  await Promise.all([world.running('t'), world.running('other')]);
  const target = await (edit.resource === 'jobs' ? hands.job('t') : hands.pod('t'));
  const other = (await world.lab.get('other')).metadata.uid;
  const otherJob = await hands.job('other');
  await hands.patch(edit.resource, target.metadata.name, edit.patch({ other, otherJob }));
  await world.sound({ t: 'Succeeded', other: 'Succeeded' }, edit.allowed);
  const { status } = await world.lab.get('t');
  const number = status?.attempt?.number ?? 0;
  assert.ok(number <= (edit.attempts ?? 1), `it took ${number} attempts`);
  assert.equal(status?.failedAttempts ?? 0, 0, 'a failure was counted against the model');
}

describe('F8 labels, annotations and owners are edited while the task runs', () => {
  for (const [name, edit] of Object.entries(EDITS)) {
    const options: RowOptions = edit.smoke ? { smoke: true } : {};
    row(
      `F8/${name}`,
      'its end is found all the same',
      () => inWorld('edit', (w) => edited(w, edit)),
      options,
    );
  }
});

/** What carries the labels of `t` but was made by somebody else. */
async function makeStrangers(world: World, hands: Hands): Promise<{ readonly uid: string }> {
  const { uid } = (await world.lab.get('t')).metadata;
  const owner = await hands.create('configmaps', {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'owner' },
  });
  const metadata = {
    labels: { [LABEL.managedBy]: MANAGED_BY, [LABEL.taskUid]: uid },
    annotations: { [ANNOTATION.attempt]: '9', [ANNOTATION.task]: 't' },
    ownerReferences: [
      { apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner.uid, controller: true },
    ],
  };
  const containers = [{ name: 'model', image: 'example.org/x' }];
  const spec = { restartPolicy: 'Never', containers, nodeSelector: { 'example.org/nowhere': 'true' } };
  const pod = { apiVersion: 'v1', kind: 'Pod', spec };
  await hands.create('pods', { ...pod, metadata: { ...metadata, name: 'stranger' } });
  const { ownerReferences: _none, ...ownerless } = metadata;
  await hands.create('pods', { ...pod, metadata: { ...ownerless, name: 'ownerless' } });
  await hands.create('jobs', {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { ...metadata, name: 'stranger' },
    spec: { template: { metadata: { labels: metadata.labels }, spec } },
  });
  return owner;
}

async function strangersIgnored(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', (attempt) => (attempt === 1 ? { model: 'hangs' } : {}));
  world.node.script('cancelled', () => ({ model: 'hangs' }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  await makeStrangers(world, hands);
  const strangers = async (): Promise<PodView[]> =>
    (await world.lab.pods()).filter(
      ({ ownerUid, jobName }) => !ownerUid || jobName === 'stranger' || !jobName,
    );
  const made = async () => ((await strangers()).length === 3 ? true : undefined);
  await eventually('the stranger Job has a pod', made, RECOVERY_MS);
  // An attempt ends, another one starts and succeeds, and all the while the strangers are there.
  await hands.remove('pods', (await hands.pod('t')).metadata.name);
  const status = await world.ended('t');
  assert.equal(status.phase, 'Succeeded');
  assert.equal(status.attempt?.number, 2);
  assert.equal((await strangers()).length, 3, 'a stranger was removed');
  assert.equal(await hands.exists('jobs', 'stranger'), true);
  const { deletions } = await world.history();
  assert.deepEqual(deletions, [], 'the operator deleted something');
  await hands.remove('jobs', 'stranger');
  for (const name of ['stranger', 'ownerless']) await hands.remove('pods', name, { force: true });
  await world.sound({ t: 'Succeeded' });
}

async function cancelledAmongStrangers(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ model: 'hangs' }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  await makeStrangers(world, hands);
  await world.lab.patchTask('t', { spec: { desired: 'Cancel' } });
  const { phase } = await world.ended('t');
  assert.equal(phase, 'Cancelled');
  for (const [resource, name] of [
    ['jobs', 'stranger'],
    ['pods', 'stranger'],
    ['pods', 'ownerless'],
  ] as const)
    assert.equal(await hands.exists(resource, name), true, `${resource}/${name} was removed`);
  await hands.remove('jobs', 'stranger');
  for (const name of ['stranger', 'ownerless']) await hands.remove('pods', name, { force: true });
  await world.sound({ t: 'Cancelled' });
}

describe("F9 pods and Jobs carry a task's labels but belong to something else", () => {
  row('F9/repeated', 'they are not counted, not deleted and not waited for when an attempt follows', () =>
    inWorld('strange', strangersIgnored),
  );
  row('F9/cancelled', 'nor when the task is cancelled', () => inWorld('strange', cancelledAmongStrangers));
});
