import assert from 'node:assert/strict';
import { z } from 'zod';
import { wav } from '../../src/agent/testing/fixtures.ts';
import { eventually } from '../support/eventually.ts';
import { atOnce, type Scenarios } from './support/at-once.ts';
import { endOf, settled } from './support/oracle.ts';
import { openGate, podOf, wholeModel } from './support/scripts.ts';
import { site, TASKS } from './support/site.ts';
import { dataset, read, task, tree, until } from './support/work.ts';

/*
 * On one node there is no pod that nobody can reach. Its twin stands for it: the same containers with the same request,
 * in the same staging, under the UID of the first pod, but in a pod that no Job and no task owns.
 */

const SCRIPT = 'gate "${GATE:-replacement}"; good "$2/raw/a.rttm" || exit 0';

const container = z.looseObject({ name: z.string(), env: z.array(z.looseObject({ name: z.string() })) });
const podShape = z.looseObject({
  metadata: z.looseObject({ uid: z.string(), annotations: z.record(z.string(), z.string()) }),
  spec: z.looseObject({
    initContainers: z.array(container),
    containers: z.array(container),
    volumes: z.array(z.unknown()),
    securityContext: z.unknown(),
  }),
});

/** Starts the twin of a pod, from its model on. */
async function twinOf(raw: unknown, name: string): Promise<void> {
  const { metadata, spec } = podShape.parse(raw);
  const fixed = [
    { name: 'POD_UID', value: metadata.uid },
    { name: 'GATE', value: 'zombie' },
  ];
  const twin = (one: z.infer<typeof container>) => ({
    ...one,
    env: [...one.env.filter((variable) => variable.name !== 'POD_UID'), ...fixed],
  });
  const { volumes, securityContext, initContainers, containers } = spec;
  await site().kube.apply([
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: TASKS, annotations: metadata.annotations },
      spec: {
        restartPolicy: 'Never',
        automountServiceAccountToken: false,
        volumes,
        securityContext,
        initContainers: initContainers.filter((one) => one.name === 'model').map(twin),
        containers: containers.map(twin),
      },
    },
  ]);
}

const statusShape = z.looseObject({
  status: z.looseObject({
    phase: z.string(),
    initContainerStatuses: z
      .array(z.looseObject({ state: z.record(z.string(), z.unknown()).optional() }))
      .default([]),
  }),
});
const twin = async (name: string) =>
  statusShape.parse(await site().kube.get(`/api/v1/namespaces/${TASKS}/pods/${name}`)).status;

const isOver = async (name: string): Promise<string | undefined> =>
  /^(Succeeded|Failed)$/.exec((await twin(name)).phase)?.[0];

/** A first pod that is given up while its twin runs on, and a second one in its place. */
async function givenUp(name: string): Promise<{ readonly first: string; readonly zombie: string }> {
  const zombie = `zombie-${name}`;
  await dataset(name, { 'a.wav': wav() });
  await task(name, { model: await wholeModel(name, SCRIPT), dataset: { path: name } });
  const first = await podOf(name);
  await until(name, 'Running', ({ phase }) => phase === 'Running');
  await twinOf(first, zombie);
  await eventually(
    'the zombie runs',
    async () => ((await twin(zombie)).initContainerStatuses[0]?.state?.['running'] ? true : undefined),
    60_000,
  );
  await site().kube.run(['delete', 'pod', first.metadata.name, '-n', TASKS, '--force', '--grace-period=0']);
  await until(
    name,
    'a second attempt runs',
    ({ attempt, reason }) => attempt?.number === 2 && reason === 'Running',
  );
  return { first: first.metadata.uid, zombie };
}

async function theEnd(name: string): Promise<{ readonly pod: string | undefined; readonly bytes: string }> {
  const { status, manifest } = await settled(name);
  assert.equal(endOf(status), 'Succeeded/Published', status.message);
  assert.deepEqual(
    [status.attempt?.number, status.disruptions, status.failures?.[0]?.category],
    [2, 1, 'Lost'],
  );
  const files = await tree(`${name}/outputs`);
  assert.deepEqual(
    files,
    ['manifest.json', 'metannots.yml', 'raw/a.rttm'].map((file) => `${name}/${file}`),
    'one result, and nothing beside it',
  );
  return { pod: manifest?.pod.uid, bytes: await read(`${name}/outputs/${name}/manifest.json`) };
}

const ZOMBIES: Scenarios = {
  'after the replacement has published: the published result stays as it is': async () => {
    const name = 'outlived';
    const { first, zombie } = await givenUp(name);
    await openGate(name, 'replacement');
    const before = await theEnd(name);
    assert.notEqual(before.pod, first);
    await openGate(name, 'zombie');
    await eventually('the zombie ends', () => isOver(zombie), 60_000);
    assert.deepEqual(await theEnd(name), before);
  },
  'while the replacement runs: the zombie has published, and the replacement adds nothing': async () => {
    const name = 'overtaken';
    const { first, zombie } = await givenUp(name);
    await openGate(name, 'zombie');
    assert.equal(await eventually('the zombie ends', () => isOver(zombie), 60_000), 'Succeeded');
    const published = await read(`${name}/outputs/${name}/manifest.json`);
    await openGate(name, 'replacement');
    assert.deepEqual(await theEnd(name), { pod: first, bytes: published });
  },
};

atOnce('a pod that was given up', {
  'G2 a zombie: the containers of a pod that was given up run to their end': ZOMBIES,
});
