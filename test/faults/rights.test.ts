import assert from 'node:assert/strict';
import { describe } from 'mocha';
import { z } from 'zod';
import { apply } from '../support/chart.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { asInstalled, type Installed } from '../support/rights.ts';
import { isWrite, patch, remove, takesEffect, waitsFor } from './rig/given.ts';
import { type Proxy, startProxy } from './rig/proxy.ts';
import { row } from './rig/row.ts';
import { inWorld, RECOVERY_MS, type World } from './rig/world.ts';

describe('D5 rights are taken away while it works, and given back', () => {
  /** An operator with the rights of the chart and no other. */
  async function installed(
    run: (world: World, proxy: Proxy, rights: Installed) => Promise<void>,
  ): Promise<void> {
    await inWorld('rights', async (world) => {
      const rights = await asInstalled(world.lab.namespace);
      const proxy = await startProxy(rights.kubeconfig);
      try {
        await run(world, proxy, rights);
      } finally {
        await proxy.close();
      }
    });
  }

  const review = z.looseObject({ status: z.looseObject({ allowed: z.boolean() }) });
  async function mayCreateJobs({ lab }: World, { release }: Installed): Promise<boolean> {
    const attributes = { namespace: lab.namespace, group: 'batch', resource: 'jobs', verb: 'create' };
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: `system:serviceaccount:${lab.namespace}:${release}`, resourceAttributes: attributes },
    };
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    return review.parse(expectOk(await controlPlane().api.call('POST', path, { body }))).status.allowed;
  }

  const rules = z.array(z.looseObject({ resources: z.array(z.string()), verbs: z.array(z.string()) }));

  /** The role of the operator, with one verb less and as it was. */
  function roleOf({ lab }: World, { objects, release }: Installed) {
    const role = objects.find(({ kind, metadata }) => kind === 'Role' && metadata.name === release);
    const before = rules.parse(role?.['rules']);
    const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${lab.namespace}/roles/${release}`;
    // The API server takes no rule without a verb.
    const less = (rule: (typeof before)[number], verb: string) => {
      const verbs = rule.verbs.filter((each) => each !== verb);
      return verbs.length > 0 ? [{ ...rule, verbs }] : [];
    };
    return {
      without: (resource: string, verb: string) =>
        patch(path, {
          rules: before.flatMap((rule) => (rule.resources.includes(resource) ? less(rule, verb) : [rule])),
        }),
      whole: () => patch(path, { rules: before }),
    };
  }

  row(
    'D5/jobs',
    'the right to create Jobs: new tasks wait and say so, running ones end, all goes on later',
    () =>
      installed(async (world, proxy, rights) => {
        const role = roleOf(world, rights);
        await world.operator({ lease: 'usual', proxy });
        world.node.script('running', () => ({ runMs: 2000 }));
        await world.submit('running');
        await world.running('running');
        await role.without('jobs', 'create');
        await takesEffect('the right is gone', async () => !(await mayCreateJobs(world, rights)));
        await world.submit('fresh');
        await waitsFor(world, 'fresh', 'Forbidden', /cannot create resource "jobs"/);
        assert.equal((await world.ended('running')).phase, 'Succeeded');
        await role.whole();
        await world.sound({ running: 'Succeeded', fresh: 'Succeeded' });
        const posts = proxy.log.filter(isWrite('fresh', 'create jobs')).map(({ status }) => status);
        assert.equal(posts.at(-1), 201);
        assert.ok(posts.length <= 3, `a slow retry, not ${posts.length} of them`);
      }),
  );

  row(
    'D5/status',
    'the right to write statuses: nothing begins that cannot be recorded, and all is told afterwards',
    () =>
      installed(async (world, proxy, rights) => {
        const role = roleOf(world, rights);
        const operator = await world.operator({ lease: 'usual', proxy });
        const ending = Promise.withResolvers<void>();
        world.node.script('running', () => ({ until: ending.promise }));
        await world.submit('running');
        await world.running('running');
        await role.without('analysistasks/status', 'update');
        const refused = () => proxy.log.filter(({ status }) => status === 403);
        ending.resolve();
        await world.submit('fresh');
        await eventually('both are refused', () => (refused().length >= 4 ? true : undefined), RECOVERY_MS);
        assert.equal((await fetch(`${operator.healthUrl}/livez`)).status, 200);
        assert.equal((await world.lab.get('running')).status?.phase, 'Running');
        assert.deepEqual(proxy.log.filter(isWrite('fresh', 'create jobs')), [], 'a Job without a claim');
        await role.whole();
        await world.sound({ running: 'Succeeded', fresh: 'Succeeded' });
        assert.ok(refused().length < 40, `${refused().length} refusals`);
        assert.match(operator.log().join('\n'), /forbidden/i, 'the log says what is missing');
      }),
  );

  row(
    'D5/all',
    'every right in the namespace: it stays alive, asks seldom, and finds everything afterwards',
    () =>
      installed(async (world, proxy, rights) => {
        const { namespace } = world.lab;
        const binding = rights.objects.find(
          ({ kind, metadata }) => kind === 'RoleBinding' && metadata.name === rights.release,
        );
        assert.ok(binding);
        const operator = await world.operator({ lease: 'usual', proxy });
        world.node.script('running', () => ({ runMs: 1500 }));
        await world.submit('running');
        await world.running('running');
        await remove(
          `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings/${rights.release}`,
        );
        await takesEffect('the rights are gone', async () => !(await mayCreateJobs(world, rights)));
        proxy.cutWatches(); // a watch that is open lives on without rights
        await world.submit('fresh');
        const refused = () => proxy.log.filter(({ status }) => status === 403).length;
        await eventually(
          'it was refused a dozen times',
          () => (refused() >= 12 ? true : undefined),
          RECOVERY_MS,
        );
        assert.equal((await fetch(`${operator.healthUrl}/livez`)).status, 200);
        assert.equal((await world.lab.get('running')).status?.phase, 'Running');
        await apply(binding, { dryRun: false });
        await world.sound({ running: 'Succeeded', fresh: 'Succeeded' });
        assert.ok(refused() < 100, `${refused()} refusals`);
        assert.match(operator.log().join('\n'), /forbidden/i, 'the log says what is missing');
      }),
  );
});
