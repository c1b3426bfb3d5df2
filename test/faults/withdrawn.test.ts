import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import type { Operator } from '../support/operator.ts';
import { create, isWrite, patch, remove, takesEffect, taskPath, writesAbout } from './rig/given.ts';
import { row } from './rig/row.ts';
import { inWorld, RECOVERY_MS } from './rig/world.ts';

const statusOf = async (path: string): Promise<number> => (await controlPlane().api.call('GET', path)).status;

async function assertAlive({ healthUrl }: Operator): Promise<void> {
  assert.equal((await fetch(`${healthUrl}/livez`)).status, 200);
}

describe('D10 the namespace is deleted while tasks run in it', () => {
  const phase = z.looseObject({ status: z.looseObject({ phase: z.string() }) });

  row('D10', 'no Job is created any more, the namespace goes, and one of the same name is served again', () =>
    inWorld('namespace', async (world) => {
      const { lab, node, proxy } = world;
      const path = `/api/v1/namespaces/${lab.namespace}`;
      const operator = await world.operator({ forced: true }); // a lease in it would go too
      node.script('runs', () => ({ model: 'hangs' }));
      await world.submit('runs');
      await world.running('runs');
      const answered = Promise.withResolvers<void>();
      proxy.inject({
        matches: isWrite('late', 'create jobs'),
        fault: { do: 'pass' },
        before: async () => {
          await remove(path);
          await takesEffect('the namespace ends', async () => {
            const { status, body } = await controlPlane().api.call('GET', path);
            return status === 404 || phase.parse(body).status.phase === 'Terminating';
          });
        },
        after: answered.resolve,
      });
      await world.submit('late');
      await answered.promise;
      await eventually(
        'the namespace is gone',
        async () => ((await statusOf(path)) === 404 ? true : undefined),
        RECOVERY_MS,
      );
      await assertAlive(operator);
      const creations = proxy.log.filter(isWrite('late', 'create jobs'));
      assert.equal(creations[0]?.status, 403);
      assert.ok(creations.length <= 2, `${creations.length} tries to create a Job in a dying namespace`);
      assert.ok(
        proxy.log.filter(({ status }) => status === 403).length <= 5,
        'it is not asked again and again',
      );
      await create('/api/v1/namespaces', {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: lab.namespace },
      });
      await lab.createClaim();
      await world.submit('next');
      await world.sound({ runs: 'gone', late: 'gone', next: 'Succeeded' });
    }),
  );
});

// Other rows of this process use the same definitions: these stand last, and put everything back.
describe('D12 the definition of AnalysisTask is changed or deleted', () => {
  const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const NAME = 'analysistasks.analysis.elsi.dev';
  const definition = z.looseObject({
    apiVersion: z.string(),
    kind: z.string(),
    spec: z.looseObject({ versions: z.array(z.looseObject({ subresources: z.unknown() })) }),
  });
  const readDefinition = async () =>
    definition.parse(expectOk(await controlPlane().api.call('GET', `${CRDS}/${NAME}`)));
  const LIST = '/apis/analysis.elsi.dev/v1alpha1/analysistasks';
  const GONE_MS = 150_000;

  const held = z.object({
    items: z.array(
      z.object({
        metadata: z.object({
          name: z.string(),
          namespace: z.string(),
          finalizers: z.array(z.string()).optional(),
        }),
      }),
    ),
  });
  /** A row whose operator is stopped may leave a task that waits for it: the kind would never go. */
  async function letGoOfAllTasks(): Promise<void> {
    const { items } = held.parse(expectOk(await controlPlane().api.call('GET', LIST)));
    for (const { metadata } of items.filter(({ metadata: { finalizers } }) => finalizers?.length)) {
      const path = `/apis/analysis.elsi.dev/v1alpha1/namespaces/${metadata.namespace}/analysistasks`;
      await patch(`${path}/${metadata.name}`, { metadata: { finalizers: null } });
    }
  }

  async function says(operator: Operator, what: RegExp): Promise<void> {
    await eventually(
      `the log says ${what}`,
      () => (operator.log().some((line) => what.test(line)) ? true : undefined),
      RECOVERY_MS,
    );
  }

  row(
    'D12/status',
    'no status subresource: nothing starts, the log says so, and all goes on when it is back',
    () =>
      inWorld('subresource', async (world) => {
        const operator = await world.operator({ lease: 'usual' });
        world.node.script('runs', () => ({ runMs: 2000 }));
        await world.submit('runs');
        await world.running('runs');
        const served = async () => (await statusOf(`${taskPath(world, 'runs')}/status`)) === 200;
        const { spec } = await readDefinition();
        const without = spec.versions.map(({ subresources: _none, ...version }) => version);
        try {
          await patch(`${CRDS}/${NAME}`, { spec: { versions: without } });
          await takesEffect('the subresource is gone', async () => !(await served()));
          await world.submit('fresh');
          await says(operator, /analysistasks\/fresh\/status answered 404/);
          assert.deepEqual(await world.lab.jobs('fresh'), [], 'no claim, no Job');
          assert.equal(
            (await world.lab.get('fresh')).status,
            undefined,
            'nor is the status written by another way',
          );
          await assertAlive(operator);
        } finally {
          await patch(`${CRDS}/${NAME}`, { spec: { versions: spec.versions } });
        }
        await takesEffect('the subresource is back', served);
        await world.sound({ runs: 'Succeeded', fresh: 'Succeeded' });
        const tries = writesAbout(world, 'fresh').filter((write) => write.endsWith(': 404')).length;
        assert.ok(tries <= 12, `${tries} tries`);
      }),
  );

  row(
    'D12/deleted',
    'the kind is gone with all tasks: it says so, writes nothing, and works when it is back',
    () =>
      inWorld('kind', async (world) => {
        const operator = await world.operator({ lease: 'usual' });
        world.node.script('runs', () => ({ model: 'hangs' }));
        await world.submit('runs');
        await world.submit('lacks', { model: 'no-such-model' });
        await world.running('runs');
        await world.until('lacks', 'ModelNotFound', ({ reason }) => reason === 'ModelNotFound');
        const { apiVersion, kind, spec } = await readDefinition();
        const writes = () =>
          world.proxy.log.filter(({ method, path }) => method !== 'GET' && !path.includes('/leases')).length;
        const before = writes();
        await letGoOfAllTasks();
        // The API server first deletes the tasks of every row before this one, some hundreds.
        const gone = () =>
          eventually(
            'the kind is gone',
            async () => ((await statusOf(`${CRDS}/${NAME}`)) === 404 ? true : undefined),
            GONE_MS,
          );
        try {
          await remove(`${CRDS}/${NAME}`);
          await gone();
          await says(operator, /List or watch failed.*analysistasks|analysistasks.*answered 404/);
          await assertAlive(operator);
          assert.equal(writes(), before, 'a task that is gone is no reason to write');
        } finally {
          await gone();
          await create(CRDS, { apiVersion, kind, metadata: { name: NAME }, spec });
          await takesEffect('the kind is served', async () => (await statusOf(LIST)) === 200);
        }
        await world.submit('next');
        await world.ended('next');
        const orphans = async () => (await world.lab.jobs('runs')).length === 0;
        await eventually(
          'the Job of the lost task is gone',
          async () => ((await orphans()) ? true : undefined),
          RECOVERY_MS,
        );
        await world.sound({ runs: 'gone', lacks: 'gone', next: 'Succeeded' });
      }),
  );
});
