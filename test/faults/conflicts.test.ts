import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { controlPlane } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import {
  create,
  isWrite,
  jobsPath,
  metadataOf,
  patch,
  remove,
  taskOf,
  taskPath,
  writesAbout,
} from './rig/given.ts';
import { row } from './rig/row.ts';
import type { Injected, Seen } from './rig/rules.ts';
import { endsOf, kindOfWrite, REFERENCE, runLives, runReference } from './rig/workload.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

/** What the API server answered to each attempt to create a Job of the task. */
const answersTo = ({ proxy }: World, task: string): number[] =>
  proxy.log.filter(isWrite(task, 'create jobs')).map(({ status }) => status);

describe('D1 somebody changes the task just before the operator writes its status', () => {
  const PASS = { do: 'pass' } as const;
  let edits = 0;
  const edit = async (world: World, task: string): Promise<void> => {
    edits += 1;
    await patch(taskPath(world, task), { metadata: { labels: { [`edit-${edits}`]: 'kept' } } });
  };
  const isStatus = (request: Seen): boolean => kindOfWrite(request)?.startsWith('status ') ?? false;
  const labelsOf = async ({ lab }: World, task: string): Promise<number> =>
    Object.keys((await lab.get(task)).metadata.labels ?? {}).filter((label) => label.startsWith('edit-'))
      .length;

  row(
    'D1',
    'before each status write: every write is refused once, decided anew and done; no edit is lost',
    () =>
      inWorld('edit', async (world) => {
        const edited = new Map<string, number>();
        const once = new Set<string>();
        const isFirst = (request: Seen): boolean => {
          const key = `${taskOf(request)} ${kindOfWrite(request)}`;
          return isStatus(request) && !once.has(key) && once.add(key).size > 0;
        };
        world.proxy.inject({
          matches: isFirst,
          fault: PASS,
          times: Number.POSITIVE_INFINITY,
          before: async (request) => {
            const task = taskOf(request) ?? '';
            edited.set(task, (edited.get(task) ?? 0) + 1);
            await edit(world, task);
          },
        });
        await world.operator({ lease: 'usual' });
        await runReference(world);
        await world.sound(REFERENCE);
        for (const task of Object.keys(REFERENCE)) {
          assert.ok((edited.get(task) ?? 0) > 0, `${task} was edited`);
          assert.equal(await labelsOf(world, task), edited.get(task), `${task} keeps every edit`);
          const refused = writesAbout(world, task).filter((write) => write.endsWith(': 409'));
          assert.ok(refused.length >= (edited.get(task) ?? 0), `${task}: every edit refused a write`);
          assertFewTries(world, task);
        }
      }),
  );

  /** One refusal per edit, and at most two repeats of a write on a copy that the watch has not renewed yet. */
  function assertFewTries({ proxy }: World, task: string): void {
    const tries = new Map<string, number>();
    for (const request of proxy.log.filter((entry) => isStatus(entry) && taskOf(entry) === task)) {
      const version = metadataOf(request).resourceVersion ?? '';
      tries.set(version, (tries.get(version) ?? 0) + 1);
    }
    assert.ok(tries.size > 0);
    for (const [version, count] of tries)
      assert.ok(count <= 3, `${task}: ${count} writes on version ${version}`);
  }

  row('D1/stubborn', 'twelve edits in a row: one try for each, then it goes on as if nothing had been', () =>
    inWorld('edit', async (world) => {
      const rule = world.proxy.inject({
        matches: isStatus,
        fault: PASS,
        times: 12,
        before: () => edit(world, 'stubborn'),
      });
      await world.operator({ lease: 'usual' });
      await world.submit('stubborn');
      await world.sound({ stubborn: 'Succeeded' });
      assert.equal(rule.hits(), 12);
      assert.equal(await labelsOf(world, 'stubborn'), 12);
      assertFewTries(world, 'stubborn');
      assert.equal(writesAbout(world, 'stubborn').filter((write) => write.endsWith('409')).length, 12);
    }),
  );

  row(
    'D1/decides-anew',
    'the change is a cancellation: what was decided before it is dropped, not repeated',
    () =>
      inWorld('edit', async (world) => {
        const cancel = (task: string, kind: string): Injected =>
          world.proxy.inject({
            matches: isWrite(task, kind),
            fault: PASS,
            before: () => patch(taskPath(world, task), { spec: { desired: 'Cancel' } }),
          });
        world.node.script('started', () => ({ model: 'hangs' }));
        const rules = [
          cancel('fresh', 'status Pending/Starting 1'),
          cancel('started', 'status Running/Running 1+job'),
        ];
        await world.operator({ lease: 'usual' });
        await Promise.all(['fresh', 'started'].map((task) => world.submit(task)));
        const history = await world.sound({ fresh: 'Cancelled', started: 'Cancelled' });
        assert.deepEqual(
          rules.map((rule) => rule.hits()),
          [1, 1],
        );
        const { uid } = (await world.lab.get('fresh')).metadata;
        assert.deepEqual(
          history.jobs.filter(({ owner }) => owner === uid),
          [],
          'no Job for a task cancelled before',
        );
      }),
  );

  for (const [moment, kind] of Object.entries({
    claim: 'status Pending/Starting 1',
    running: 'status Running/Running 1+job',
  })) {
    row(`D1/uid@${moment}`, 'another task has the name now: nothing of the old one is written into it', () =>
      inWorld('edit', async (world) => {
        let runs = 0;
        world.node.script('replaced', () => ({
          model: kind.includes('Running') && runs++ === 0 ? 'hangs' : 'succeeds',
        }));
        await world.submit('replaced');
        const old = (await world.lab.get('replaced')).metadata.uid;
        const replaced = Promise.withResolvers<void>();
        world.proxy.inject({
          matches: isWrite('replaced', kind),
          fault: PASS,
          before: async () => {
            await world.lab.deleteTask('replaced');
            await world.submit('replaced').then(replaced.resolve, replaced.reject);
          },
        });
        await world.operator({ lease: 'usual' });
        await replaced.promise;
        const history = await world.sound({ replaced: 'Succeeded' });
        const { uid } = (await world.lab.get('replaced')).metadata;
        assert.notEqual(uid, old);
        const own = history.taskWrites.filter((write) => write.uid === uid);
        assert.equal(own[0]?.status.attempt?.jobUID, undefined, 'the new task begins at its own beginning');
        const ours = new Set(history.jobs.filter(({ owner }) => owner === uid).map(({ name }) => name));
        for (const { status } of own)
          assert.ok(ours.has(status.attempt?.jobName ?? ''), 'and names only its own Job');
        const olds = history.jobs.filter(({ owner }) => owner === old);
        assert.equal(olds.length, moment === 'claim' ? 0 : 1, 'what was not claimed is not created');
        const refused = world.proxy.log.filter((entry) => isStatus(entry) && entry.body.includes(old)).at(-1);
        assert.ok(
          refused && [404, 409].includes(refused.status),
          `the last write of the old one: ${refused?.status}`,
        );
      }),
    );
  }
});

describe("D2 the Job's name is taken", () => {
  /** Somebody is quicker than the operator's POST of this task's Job. */
  function whenCreating({ proxy }: World, task: string, act: (job: JobBody) => Promise<void>): Injected {
    return proxy.inject({
      matches: isWrite(task, 'create jobs'),
      fault: { do: 'pass' },
      before: ({ body }) => act(jobBody.parse(JSON.parse(body))),
    });
  }
  const jobBody = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });
  type JobBody = z.output<typeof jobBody>;
  row(
    'D2/own',
    'by an earlier POST of our own: it is adopted',
    () =>
      inWorld('name', async (world) => {
        whenCreating(world, 'own', (job) => create(jobsPath(world), job));
        await world.operator({ lease: 'usual' });
        await world.submit('own');
        const history = await world.sound({ own: 'Succeeded' });
        assert.deepEqual(answersTo(world, 'own'), [409]);
        assert.doesNotMatch(writesAbout(world, 'own').join(), /NameConflict/);
        assert.equal(history.jobs.length, 1);
        assert.equal((await world.lab.get('own')).status?.attempt?.number, 1);
      }),
    { smoke: true },
  );

  /** Suspended, so that no pod of it is in the way. */
  const foreign = ({ metadata: { name } }: JobBody, more: object = {}) => ({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, ...more },
    spec: {
      suspend: true,
      template: { spec: { restartPolicy: 'Never', containers: [{ name: 'x', image: 'example.org/x' }] } },
    },
  });

  row(
    'D2/foreign',
    "by nobody's Job or another task's: said, not touched, and started when it has gone",
    () =>
      inWorld('name', async (world) => {
        await world.operator({ lease: 'usual' });
        await world.submit('other', { desired: 'Suspend' });
        await world.until('other', 'Suspended', ({ reason }) => reason === 'Suspended');
        const { uid } = (await world.lab.get('other')).metadata;
        const owner = {
          apiVersion: 'analysis.elsi.dev/v1alpha1',
          kind: 'AnalysisTask',
          name: 'other',
          uid,
          controller: true,
        };
        whenCreating(world, 'nobodys', (job) => create(jobsPath(world), foreign(job)));
        whenCreating(world, 'others', (job) =>
          create(jobsPath(world), foreign(job, { ownerReferences: [owner] })),
        );
        const names = ['nobodys', 'others'];
        for (const task of names) await world.submit(task);
        const conflict = (task: string) =>
          world.until(task, 'NameConflict', ({ reason }) => reason === 'NameConflict');
        for (const status of await Promise.all(names.map(conflict))) {
          assert.equal(status.phase, 'Pending');
          assert.match(status.message ?? '', /exists and belongs to something else; delete or rename it/);
          assert.equal(status.attempt?.jobUID, undefined, 'not adopted');
          const job = `${jobsPath(world)}/${status.attempt?.jobName}`;
          assert.equal((await controlPlane().api.call('GET', job)).status, 200, 'not deleted');
          await remove(job, { propagationPolicy: 'Background' });
        }
        await world.sound({ nobodys: 'Succeeded', others: 'Succeeded', other: { waits: 'Suspended' } });
        for (const task of names) assert.deepEqual(answersTo(world, task), [409, 201]);
      }),
  );

  row('D2/dying', 'by our own Job that is being deleted: no pod runs until it has gone', () =>
    inWorld('name', async (world) => {
      const HOLD = 'test.analysis.elsi.dev/hold';
      let path = '';
      whenCreating(world, 'dying', async (job) => {
        path = `${jobsPath(world)}/${job.metadata.name}`;
        const spec = { ...z.looseObject({}).parse(job['spec']), suspend: true };
        await create(jobsPath(world), { ...job, spec, metadata: { ...job.metadata, finalizers: [HOLD] } });
        await remove(path, { propagationPolicy: 'Background' });
      });
      await world.operator({ lease: 'usual' });
      await world.submit('dying');
      await world.until('dying', 'its Job is seen', ({ attempt }) => attempt?.jobUID !== undefined);
      assert.deepEqual(await world.lab.pods(), []);
      await patch(path, { metadata: { finalizers: null } });
      await world.sound({ dying: 'Succeeded' });
      assert.equal(answersTo(world, 'dying')[0], 409);
      assert.equal(world.node.ledger.length, 1);
    }),
  );
});

describe('D9 what the operator writes to is gone', () => {
  for (const [moment, kind] of Object.entries({
    claim: 'status Pending/Starting 1',
    create: 'create jobs',
    running: 'status Running/Running 1+job',
    finish: 'status Succeeded/Published 1+job',
  })) {
    row(`D9/task@${moment}`, 'the task is deleted just before: it is dropped and nothing comes back', () =>
      inWorld('gone', async (world) => {
        const answered = Promise.withResolvers<void>();
        world.proxy.inject({
          matches: isWrite('gone', kind),
          fault: { do: 'pass' },
          before: () => world.lab.deleteTask('gone'),
          after: answered.resolve,
        });
        if (moment === 'running') world.node.script('gone', () => ({ model: 'hangs' }));
        await world.operator({ lease: 'usual' });
        await world.submit('gone');
        await answered.promise;
        if (moment === 'claim') assert.deepEqual(answersTo(world, 'gone'), [], 'a Job without a claim');
        const soFar = writesAbout(world, 'gone').length;
        await eventually(
          'its Jobs and pods are gone',
          async () => {
            const left = [...(await world.lab.jobs()), ...(await world.lab.pods())];
            return left.length === 0 ? true : undefined;
          },
          RECOVERY_MS,
        );
        await world.submit('next'); // the operator works on, and comes past anything that it still had to do
        await world.sound({ gone: 'gone', next: 'Succeeded' });
        assert.ok(writesAbout(world, 'gone').length - soFar <= 1, writesAbout(world, 'gone').join('\n'));
      }),
    );
  }

  row('D9/job', 'the Job is deleted by hand just before the operator deletes it: good enough', () =>
    inWorld('gone', async (world) => {
      const isDelete = (request: Seen): boolean => kindOfWrite(request) === 'delete jobs';
      const rule = world.proxy.inject({
        matches: isDelete,
        fault: { do: 'pass' },
        before: async ({ path }) => {
          await remove(path.replace(/\?.*/, ''), { propagationPolicy: 'Background' });
          await eventually('the Job is gone', async () =>
            (await controlPlane().api.call('GET', path)).status === 404 ? true : undefined,
          );
        },
      });
      await world.operator({ lease: 'usual' });
      await runLives(world, { cancelled: 'cancelled' });
      await world.sound(endsOf({ cancelled: 'cancelled' }));
      assert.equal(rule.hits(), 1);
      assert.equal(world.proxy.log.find(isDelete)?.status, 404);
    }),
  );
});
