import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import {
  create,
  isWrite,
  jobsPath,
  outlives,
  patch,
  takesEffect,
  waitsFor,
  whileThere,
  writesAbout,
} from './rig/given.ts';
import { row } from './rig/row.ts';
import { startWebhook, type Webhook } from './rig/webhook.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

const creations = (world: World, task: string): number =>
  writesAbout(world, task).filter((write) => write.startsWith('create jobs')).length;

describe('D6 the quota of the namespace is used up', () => {
  const hard = z.looseObject({ status: z.looseObject({ hard: z.record(z.string(), z.string()) }) });

  /** Sets a quota and waits until the API server counts by it. */
  async function limit({ lab }: World, key: string, most: string): Promise<void> {
    const path = lab.path('resourcequotas');
    const spec = { hard: { [key]: most } };
    const is = await controlPlane().api.call('GET', `${path}/quota`);
    if (is.status === 200) await patch(`${path}/quota`, { spec });
    else await create(path, { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'quota' }, spec });
    await takesEffect('the quota counts', async () => {
      const now = hard.safeParse((await controlPlane().api.call('GET', `${path}/quota`)).body);
      return now.data?.status.hard[key] === most;
    });
  }

  row('D6/jobs', 'for Jobs: waits as QuotaExceeded with few writes, and goes on when it is raised', () =>
    inWorld('quota', async (world) => {
      const KEY = 'count/jobs.batch';
      await limit(world, KEY, '1');
      await world.operator({ lease: 'usual' });
      await world.submit('first');
      await world.until('first', 'its Job', ({ attempt }) => attempt?.jobUID !== undefined);
      await world.submit('second');
      await waitsFor(world, 'second', 'QuotaExceeded', /exceeded quota: quota/);
      await outlives(world, 3);
      await limit(world, KEY, '2');
      await world.sound({ first: 'Succeeded', second: 'Succeeded' });
      assert.ok(creations(world, 'second') <= 3, writesAbout(world, 'second').join('\n'));
    }),
  );

  const eventList = z.object({ items: z.array(z.looseObject({ count: z.number().nullish() })) });

  row('D6/gpu', 'for GPUs: the Job waits without a pod, said once, and runs when the quota is raised', () =>
    inWorld(
      'quota',
      async (world) => {
        const KEY = 'requests.nvidia.com/gpu';
        await limit(world, KEY, '0');
        await world.operator({ lease: 'usual' });
        await world.submit('gpu');
        const status = await waitsFor(world, 'gpu', 'QuotaExceeded', /exceeded quota: quota/);
        assert.notEqual(status.attempt?.jobUID, undefined);
        await eventually(
          'the Job controller tried four times',
          async () => {
            const path = `${world.lab.path('events')}?fieldSelector=reason=FailedCreate`;
            const { items } = eventList.parse(expectOk(await controlPlane().api.call('GET', path)));
            return items.reduce((sum, { count }) => sum + (count ?? 1), 0) >= 4 ? true : undefined;
          },
          RECOVERY_MS,
        );
        await limit(world, KEY, '1');
        await world.sound({ gpu: 'Succeeded' });
        const said = writesAbout(world, 'gpu').filter((write) => write.includes('QuotaExceeded'));
        assert.equal(said.length, 1, writesAbout(world, 'gpu').join('\n'));
      },
      { gpu: { resourceName: 'nvidia.com/gpu', count: 1 } },
    ),
  );
});

describe('D7 admission has its own mind', () => {
  const API = '/apis/admissionregistration.k8s.io/v1';
  const V1 = 'admissionregistration.k8s.io/v1';
  const within = ({ lab }: World) => ({ matchLabels: { 'kubernetes.io/metadata.name': lab.namespace } });
  const onCreate = (...resources: string[]) => ({
    apiGroups: ['', 'batch'],
    apiVersions: ['v1'],
    operations: ['CREATE'],
    resources,
  });
  const TASK = "object.metadata.?annotations['analysis.elsi.dev/task'].orValue('')";

  /** What a dry run of a Job for this task is answered with. */
  async function dryRun(world: World, task: string): Promise<{ status: number; text: string }> {
    const template = {
      spec: { restartPolicy: 'Never', containers: [{ name: 'x', image: 'example.org/x' }] },
    };
    const metadata = { name: 'probe', annotations: { 'analysis.elsi.dev/task': task } };
    const body = { apiVersion: 'batch/v1', kind: 'Job', metadata, spec: { template } };
    const answer = await controlPlane().api.call('POST', `${jobsPath(world)}?dryRun=All`, { body });
    return { status: answer.status, text: JSON.stringify(answer.body) };
  }

  function denial(world: World): Parameters<typeof whileThere>[0] {
    const name = world.lab.namespace;
    const deny = (kind: string, task: string, more: object = {}) => ({
      expression: `request.kind.kind != '${kind}' || ${TASK} != '${task}'`,
      message: `no ${task} today`,
      ...more,
    });
    const policy = {
      apiVersion: V1,
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        matchConstraints: { namespaceSelector: within(world), resourceRules: [onCreate('jobs', 'pods')] },
        validations: [
          deny('Job', 'unfit'),
          deny('Job', 'banned', { reason: 'Forbidden' }),
          deny('Pod', 'podless'),
        ],
      },
    };
    const spec = { policyName: name, validationActions: ['Deny'] };
    const binding = { apiVersion: V1, kind: 'ValidatingAdmissionPolicyBinding', metadata: { name }, spec };
    return [
      [`${API}/validatingadmissionpolicies`, policy],
      [`${API}/validatingadmissionpolicybindings`, binding],
    ];
  }

  row(
    'D7/denies',
    'a policy refuses the Job or its pod, with 422 or 403: said, tried seldom, done when it has gone',
    () =>
      inWorld('policy', async (world) => {
        const refused = ['unfit', 'banned', 'podless'];
        await world.operator({ lease: 'usual' });
        await whileThere(denial(world), async () => {
          await takesEffect('the policy', async () => (await dryRun(world, 'banned')).status === 403);
          assert.equal(
            (await dryRun(world, 'unfit')).status,
            422,
            'what a policy says without a reason of its own',
          );
          for (const task of [...refused, 'welcome']) await world.submit(task);
          await waitsFor(world, 'unfit', 'AdmissionDenied', /no unfit today/);
          await waitsFor(world, 'banned', 'AdmissionDenied', /no banned today/);
          await waitsFor(world, 'podless', 'PodRefused', /no podless today/);
          assert.equal((await world.ended('welcome')).phase, 'Succeeded');
          await outlives(world, 3);
        });
        await world.sound(Object.fromEntries([...refused, 'welcome'].map((task) => [task, 'Succeeded'])));
        for (const task of refused)
          assert.ok(creations(world, task) <= 3, writesAbout(world, task).join('\n'));
      }),
  );

  function mutation(world: World): Parameters<typeof whileThere>[0] {
    const name = world.lab.namespace;
    const path = '/spec/template/metadata/annotations/mutated';
    const jsonPatch = { expression: `[JSONPatch{op: "add", path: "${path}", value: "yes"}]` };
    const policy = {
      apiVersion: V1,
      kind: 'MutatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        reinvocationPolicy: 'Never',
        matchConstraints: { namespaceSelector: within(world), resourceRules: [onCreate('jobs')] },
        matchConditions: [{ name: 'ours', expression: `${TASK} == 'changed'` }],
        mutations: [{ patchType: 'JSONPatch', jsonPatch }],
      },
    };
    const binding = { apiVersion: V1, kind: 'MutatingAdmissionPolicyBinding', metadata: { name } };
    return [
      [`${API}/mutatingadmissionpolicies`, policy],
      [`${API}/mutatingadmissionpolicybindings`, { ...binding, spec: { policyName: name } }],
    ];
  }

  row(
    'D7/mutates',
    "a policy changes the Job's template and the answer is lost: the Job is adopted all the same",
    () =>
      inWorld('policy', async (world) => {
        await whileThere(mutation(world), async () => {
          // The probe has no annotations in its template, so that the patch cannot be applied once the policy counts.
          await takesEffect('the policy', async () => (await dryRun(world, 'changed')).status >= 400);
          const lost = world.proxy.inject({
            matches: isWrite('changed', 'create jobs'),
            fault: { do: 'pass' },
            before: async ({ path, body }) => {
              expectOk(
                await controlPlane().api.call('POST', path, {
                  body: z.looseObject({}).parse(JSON.parse(body)),
                }),
              );
            },
          });
          await world.operator({ lease: 'usual' });
          await world.submit('changed');
          const history = await world.sound({ changed: 'Succeeded' });
          assert.equal(lost.hits(), 1);
          assert.equal(history.jobs.length, 1);
          const name = (await world.lab.get('changed')).status?.attempt?.jobName ?? '';
          const job = JSON.stringify(
            (await controlPlane().api.call('GET', `${jobsPath(world)}/${name}`)).body,
          );
          assert.match(job, /"mutated":"yes"/);
          assert.doesNotMatch(writesAbout(world, 'changed').join(), /NameConflict/);
        });
      }),
  );

  function hook(world: World, { url, caBundle }: Webhook): Parameters<typeof whileThere>[0] {
    const webhook = {
      name: 'silent.test.analysis.elsi.dev',
      clientConfig: { url, caBundle },
      rules: [onCreate('jobs')],
      namespaceSelector: within(world),
      failurePolicy: 'Fail',
      sideEffects: 'None',
      timeoutSeconds: 1,
      admissionReviewVersions: ['v1'],
    };
    const metadata = { name: world.lab.namespace };
    const body = { apiVersion: V1, kind: 'ValidatingWebhookConfiguration', metadata, webhooks: [webhook] };
    return [[`${API}/validatingwebhookconfigurations`, body]];
  }

  row(
    'D7/silent',
    'a webhook does not answer, which is a 500: said, tried seldom, done when it answers',
    () =>
      inWorld('webhook', async (world) => {
        const webhook = await startWebhook();
        try {
          await world.operator({ lease: 'usual' });
          await whileThere(hook(world, webhook), async () => {
            await takesEffect('the webhook', async () => (await dryRun(world, 'late')).status === 500);
            await world.submit('late');
            await waitsFor(world, 'late', 'AdmissionFailed', /failed calling webhook/);
            await outlives(world, 3);
            const soFar = creations(world, 'late');
            webhook.allow();
            await world.sound({ late: 'Succeeded' });
            assert.ok(
              soFar <= 2 && creations(world, 'late') <= soFar + 2,
              writesAbout(world, 'late').join('\n'),
            );
          });
        } finally {
          await webhook.close();
        }
      }),
  );
});

describe('D8 an object that no API server accepts', () => {
  row(
    'D8',
    'the model asks for more CPU than its own limit: Failed at once with the field, never tried again',
    () =>
      inWorld('invalid', async (world) => {
        const model = await world.lab.model('greedy', { resources: { cpu: '4', cpuLimit: '2' } });
        await world.operator({ lease: 'usual' });
        await world.submit('greedy', { model });
        const status = await world.ended('greedy');
        assert.equal(status.reason, 'ConfigError');
        assert.match(
          status.message ?? '',
          /resources\.requests: Invalid value: "4": must be less than or equal to cpu limit/,
        );
        await world.submit('next'); // while it runs, the failed one would be tried again
        await world.sound({ greedy: 'Failed', next: 'Succeeded' });
        assert.equal(creations(world, 'greedy'), 1);
        assert.equal(writesAbout(world, 'greedy').at(-1), 'status Failed/ConfigError 1: 200');
      }),
    { smoke: true },
  );
});
