import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { type TaskStatus, taskSpec } from '../../src/api/task.ts';
import { failureOf } from '../support/api.ts';
import { apply, renderChart } from '../support/chart.ts';
import { controlPlane, deleteAtEnd, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type Hands, handsIn } from './rig/hands.ts';
import { came, withSink } from './rig/hook.ts';
import { counted } from './rig/measure.ts';
import { row } from './rig/row.ts';
import { openSink, type Sink, wordsOf } from './rig/sink.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** Each field of the spec with another value than the task has; null removes a field. */
const EDITS: Readonly<Record<string, unknown>> = {
  model: 'another-model',
  dataset: { path: 'another' },
  outputName: 'elsewhere',
  parameters: { threshold: '0.9' },
  resume: false,
  queue: 'another-queue',
  priority: 'High',
  callbacks: ['another-endpoint'],
  retryOf: 'another-task',
};

async function specEdited(world: World): Promise<void> {
  world.node.script('t', () => ({ runMs: 3000 }));
  await world.operator();
  await world.submit('t', { ttlSecondsAfterSettled: 9000 });
  await world.running('t');
  const before = (await world.lab.get('t')).status?.attempt?.jobUID;
  const fixed = Object.keys(taskSpec.shape).filter(
    (field) => !['desired', 'ttlSecondsAfterSettled'].includes(field),
  );
  assert.deepEqual(Object.keys(EDITS).toSorted(), fixed.toSorted(), 'every field is tried');
  for (const [field, value] of Object.entries(EDITS)) {
    const { message } = failureOf(await world.lab.patchTask('t', { spec: { [field]: value } }));
    assert.match(message, new RegExp(`${field} is immutable`));
  }
  expectOk(await world.lab.patchTask('t', { spec: { ttlSecondsAfterSettled: 9999 } }));
  const { jobs } = await world.sound({ t: 'Succeeded' });
  const { status, spec } = await world.lab.get('t');
  assert.equal(jobs.length, 1);
  assert.equal(status?.attempt?.jobUID, before);
  assert.equal(spec.ttlSecondsAfterSettled, 9999);
}

describe('F6 the spec is edited while the task runs', () => {
  const title = 'every field but desired and ttl is refused, and the attempt goes on untouched';
  row('F6', title, () => inWorld('edited', specEdited));
});

const HERE = 'analysistasks';
const forge = (hands: Hands, task: string, status: object) =>
  hands.tryPatch(HERE, `${task}/status`, { status });

/** Each forgery that the API server can tell, of a task that runs with its Job recorded as attempt 1. */
const REFUSED: Readonly<Record<string, object>> = {
  'the UID of an attempt': { attempt: { jobUID: 'forged' } },
  'the UID of an attempt ': { attempt: { jobUID: null } },
  'the attempt number never decreases': { attempt: null },
  'only a task in a terminal phase is settled': { settled: true },
};

async function forgedWhileRunning(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ runMs: 4000 }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  for (const [rule, status] of Object.entries(REFUSED))
    assert.match(failureOf(await forge(hands, 't', status)).message, new RegExp(rule.trim()));
  expectOk(await forge(hands, 't', { phase: 'Pending', reason: 'Forged', message: 'All is lost' }));
  const derived = await world.running('t');
  assert.equal(derived.reason, 'Running', 'the reason still comes from somebody else');
  assert.match(derived.message ?? '', /is running on node/);
  await world.sound({ t: 'Succeeded' }, (violation) => /went back: t: .*Forged/.test(violation));
}

/** Statuses that nobody can tell from true ones: what they cost is an attempt, never the task. */
const BELIEVED: Readonly<Record<string, Partial<TaskStatus> & object>> = {
  'a later attempt': { attempt: { number: 7, jobName: 'forged', claimedBy: 'x', claimedAt: later() } },
  'a later Job': {
    attempt: { number: 7, jobName: 'forged', jobUID: 'forged', claimedBy: 'x', claimedAt: later() },
  },
  'a pause of a thousand years': { nextAttemptAt: '3026-01-01T00:00:00Z' },
};

function later(): string {
  return new Date(Date.now() + 3_600_000).toISOString();
}

async function forgedAttempt(world: World, status: object): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', (attempt) => (attempt === 1 ? { model: 'hangs', stopMs: 1000 } : {}));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  expectOk(await forge(hands, 't', status));
  await world.sound({ t: 'Succeeded' });
  const { status: end = {} } = await world.lab.get('t');
  assert.ok((end.attempt?.number ?? 0) > 1);
  assert.equal(end.failedAttempts ?? 0, 0);
}

async function forgedEnd(world: World): Promise<void> {
  const hands = handsIn(world);
  world.node.script('t', () => ({ model: 'hangs' }));
  await world.operator();
  await world.submit('t');
  await world.running('t');
  expectOk(await forge(hands, 't', { phase: 'Succeeded', reason: 'Forged', settled: true }));
  for (const phase of ['Failed', 'Running', null])
    assert.match(failureOf(await forge(hands, 't', { phase })).message, /a terminal phase never changes/);
  await world.sound({ t: 'Succeeded' }, (violation) => violation.startsWith('O8 t succeeded, but'));
}

/** Somebody with the right to write a status has an event sent: the address that he wants for it, twice. */
async function forgedEvent(world: World, sink: Sink): Promise<void> {
  const hands = handsIn(world);
  const elsewhere = await openSink();
  try {
    const ending = Promise.withResolvers<void>();
    world.node.script('t', () => ({ until: ending.promise }));
    const operator = await world.operator({ config: sink.config() });
    await world.submit('t', { callbacks: ['lab'] });
    await world.running('t');
    await came(sink, 1);
    // The patch below replaces the whole list: nothing true may be in it any more.
    await world.until('t', 'nothing to tell', ({ outbox = [] }) => outbox.length === 0);
    const event = { type: 'forged', sequence: 1, time: new Date().toISOString(), url: elsewhere.url };
    const outbox = [elsewhere.url, 'constructor'].map((endpoint) => ({ ...event, id: endpoint, endpoint }));
    expectOk(await forge(hands, 't', { outbox }));
    await counted(operator, 2, 'analysis_callback_attempts_total', 'endpoint="unconfigured"');
    const kept = (await world.lab.get('t')).status?.outbox ?? [];
    assert.ok(kept.length >= 2 && !JSON.stringify(kept).includes('"url"'), 'no URL is ever kept in a status');
    expectOk(await forge(hands, 't', { outbox: null }));
    ending.resolve();
    await world.sound({ t: 'Succeeded' });
    assert.deepEqual([elsewhere.deliveries, elsewhere.refused], [[], []], 'it was sent where a status said');
    assert.deepEqual(wordsOf(sink.deliveries), ['started', 'succeeded']);
  } finally {
    await elsewhere.down();
  }
}

const review = z.looseObject({ status: z.looseObject({ allowed: z.boolean() }) });
const TENANT = 'tenant-of-forgery';

/** Asks the API server what somebody with the chart's role for tenants may do. */
async function rightsOfTenants(world: World): Promise<void> {
  const { namespace } = world.lab;
  const release = `analysis-${namespace}`;
  const objects = await renderChart(release, namespace, []);
  const role = objects.find(({ metadata }) => metadata.name.endsWith('-tasks-edit'));
  assert.ok(role, 'the chart has no role for tenants');
  deleteAtEnd(await apply(role, { dryRun: false }));
  const binding = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'tenant', namespace },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role.metadata.name },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: TENANT }],
  };
  await apply(binding, { dryRun: false });
  const may = (verb: string, resource: string, more: object = {}): Promise<boolean> =>
    isAllowed({ verb, resource, namespace, group: 'analysis.elsi.dev', ...more });
  const granted = async () => ((await may('create', 'analysistasks')) ? true : undefined);
  await eventually('the role is in force', granted, RECOVERY_MS);
  const status = { subresource: 'status' };
  for (const verb of ['update', 'patch'])
    assert.equal(await may(verb, 'analysistasks', status), false, `tenants may ${verb} the status`);
  for (const verb of ['create', 'update', 'patch', 'delete'])
    assert.equal(await may(verb, 'analysismodels', { namespace: '' }), false, `tenants may ${verb} models`);
  for (const [group, resource] of [
    ['batch', 'jobs'],
    ['', 'pods'],
    ['', 'pods/exec'],
  ] as const)
    assert.equal(await may('create', resource, { group }), false, `tenants may create ${resource}`);
}

async function isAllowed(resourceAttributes: object): Promise<boolean> {
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: { user: TENANT, resourceAttributes },
  };
  const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
  return review.parse(expectOk(await controlPlane().api.call('POST', path, { body }))).status.allowed;
}

describe('F7 the status is forged', () => {
  row('F7/running', 'what can be told is refused, the rest is derived anew from the Job', () =>
    inWorld('forged', forgedWhileRunning),
  );
  for (const [what, status] of Object.entries(BELIEVED))
    row(`F7/${what.replaceAll(' ', '-')}`, 'costs an attempt, not the task, and no pod overlaps', () =>
      inWorld('forged', (world) => forgedAttempt(world, status)),
    );
  row('F7/terminal', 'an end stays, whoever wrote it, and what runs is stopped', () =>
    inWorld('forged', forgedEnd),
  );
  row('F7/outbox', 'events are sent to endpoints of the configuration alone, whatever a status says', () =>
    withSink(forgedEvent),
  );
  row('F7/rights', "the chart's role for tenants has no right on a status, a model, a Job or a pod", () =>
    inWorld('forged', rightsOfTenants),
  );
});
