import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { apply, type Rendered, renderChart } from './chart.ts';
import { controlPlane, deleteAtEnd, expectOk } from './control-plane.ts';
import { type Right, rightTo } from './verbs.ts';

const RIGHTS = ['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'];
const tokenRequest = z.looseObject({ status: z.looseObject({ token: z.string() }) });

/** The identity that the chart gives to the operator in one namespace. */
export interface Installed {
  /** Of the chart's ServiceAccount, by token. */
  readonly kubeconfig: string;
  /** Name of its objects. */
  readonly release: string;
  /** The objects of the chart that grant rights. */
  readonly objects: readonly Rendered[];
}

/** A kubeconfig for the ServiceAccount of a release of the chart that may work in its own namespace only. */
export async function asInstalled(namespace: string): Promise<Installed> {
  const release = `analysis-operator-${namespace}`;
  const rendered = await renderChart(release, namespace, [`config.namespaces=["${namespace}"]`]);
  const objects = rendered.filter(({ kind }) => RIGHTS.includes(kind));
  for (const object of objects) deleteAtEnd(await apply(object, { dryRun: false }));
  const { api, kubeconfig } = controlPlane();
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${release}/token`;
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  };
  const { token } = tokenRequest.parse(expectOk(await api.call('POST', path, { body }))).status;
  const admin = z.looseObject({ users: z.tuple([z.looseObject({ name: z.string() })]) });
  const config = admin.parse(parse(await readFile(kubeconfig, 'utf8')));
  const file = join(await mkdtemp(join(tmpdir(), 'rights-')), 'kubeconfig');
  await writeFile(file, stringify({ ...config, users: [{ name: config.users[0].name, user: { token } }] }));
  return { kubeconfig: file, release, objects };
}

const rules = z.array(
  z.object({ apiGroups: z.array(z.string()), resources: z.array(z.string()), verbs: z.array(z.string()) }),
);

/** What the chart's roles grant to a program of it, wherever that is; `program` is the name of its objects. */
export function grantsOf(objects: readonly Rendered[], program: string): ReadonlySet<Right> {
  const own = objects.filter(
    ({ kind, metadata: { name } }) =>
      ['Role', 'ClusterRole'].includes(kind) && [program, `${program}-leader`].includes(name),
  );
  return new Set(
    own
      .flatMap((role) => rules.parse(role['rules']))
      .flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) => verbs.map((verb) => rightTo(verb, group, resource))),
        ),
      ),
  );
}

let operatorGrants: Promise<ReadonlySet<Right>> | undefined;

/** What the chart as it is installed by default grants to the operator. */
export function grantsOfOperator(): Promise<ReadonlySet<Right>> {
  const program = 'analysis-operator';
  operatorGrants ??= renderChart(program, 'default', ['config.namespaces=["default"]']).then((objects) =>
    grantsOf(objects, program),
  );
  return operatorGrants;
}
