import assert from 'node:assert/strict';
import { glob, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'mocha';
import { RECORDINGS, wav } from '../../src/agent/testing/fixtures.ts';
import { API_VERSION } from '../../src/api/keys.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { STAGING } from '../../src/api/request.ts';
import { identityOf } from '../../src/jobs/request.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { evict } from './rig/disruptions.ts';
import type { Pod } from './rig/pod.ts';
import { row } from './rig/row.ts';
import { DATASET } from './rig/volume.ts';
import { COPY, inWorld, RECOVERY_MS, type World } from './rig/world.ts';

const outputOf = ({ node }: World, task: string, name: string): string =>
  join(node.store, DATASET, STAGING.outputs, task, 'raw', name);

/** Files in the staging of one pod. */
async function staged({ node }: World, pod: string, pattern: string): Promise<string[]> {
  const cwd = join(node.store, DATASET, STAGING.outputs, STAGING.staging);
  const found: string[] = [];
  for await (const path of glob(`*/${pod}/${pattern}`, { cwd })) found.push(join(cwd, path));
  return found;
}

/** Waits for a file among the recordings; a process that its row has left behind ends with them. */
const PATIENT = 'while [ -e "$0" ] && [ ! -e "$0/go" ]; do sleep 0.05; done; ';

function shell(script: string, more: Partial<ModelSpecInput> = {}): Partial<ModelSpecInput> {
  const command = ['sh', '-c', script, '{inputDir}', '{input}', '{output}', '{stem}'];
  return { run: { per: 'File', command }, ...more };
}

const putInto = ({ node }: World, name: string, content: string | Buffer = ''): Promise<void> =>
  writeFile(join(node.store, DATASET, RECORDINGS, name), content);

async function reusedBy({ lab }: World, task: string): Promise<string | undefined> {
  return (await lab.get(task)).status?.message;
}

describe('K3 finished units are used again', () => {
  row('K3', 'of an attempt that a zombie still writes to: they are copies, the result stays as it was', () =>
    inWorld(
      'reuse',
      async (world) => {
        const zombie = Promise.withResolvers<Awaited<ReturnType<typeof open>>>();
        world.node.script('t', (attempt) => ({
          observed: true,
          runMs: 1000,
          onPublished: async ({ metadata }: Pod) => {
            if (attempt > 1) return;
            const [output = ''] = await staged(world, metadata.uid, 'out/raw/a');
            zombie.resolve(await open(output, 'r+'));
            await putInto(world, 'go');
          },
        }));
        await world.operator({ forced: true });
        await world.submit('t');
        await world.sound({ t: 'Succeeded' });
        const published = outputOf(world, 't', 'a');
        const before = await readFile(published);
        await using late = await zombie.promise;
        await late.write('what a zombie writes', 0);
        assert.deepEqual(await readFile(published), before);
        const { attempt, progress } = (await world.lab.get('t')).status ?? {};
        assert.deepEqual([attempt?.number, progress?.summary], [2, '2/2']);
        const runs = await readFile(join(world.node.store, DATASET, RECORDINGS, 'runs'), 'utf8').catch(
          () => '',
        );
        assert.equal(runs.match(/a/g)?.length ?? 0, 1, 'the unit was used again, not run again');
      },
      shell('if [ "$3" = b ] && [ ! -e "$0/go" ]; then exit 3; fi; echo "$3" >>"$0/runs"; cp "$1" "$2"'),
    ),
  );

  const SPEED: Partial<ModelSpecInput> = {
    parameters: [{ name: 'speed', type: 'String', default: 'slow' }],
    run: {
      per: 'File',
      command: ['sh', '-c', 'echo "$1" >"$2"', 'model', '{param.speed}', '{output}'],
    },
  };

  row('K3/parameters', 'of a task with other parameters, bound to it by mistake: every unit runs again', () =>
    inWorld(
      'reuse',
      async (world) => {
        const first = await world.operator({ forced: true });
        await world.submit('first');
        await world.ended('first');
        await first.stop();
        // The operator refuses such a retry. What an older one bound counts, and then the volume decides.
        await world.submit('again', { retryOf: 'first', parameters: { speed: 'fast' } });
        await bind(world, 'again', 'first');
        await world.operator({ forced: true });
        await world.sound({ first: 'Succeeded', again: 'Succeeded' });
        assert.equal(await readFile(outputOf(world, 'again', 'a'), 'utf8'), 'fast\n');
        assert.doesNotMatch((await reusedBy(world, 'again')) ?? '', /copied/);
      },
      SPEED,
    ),
  );

  row(
    'K3/inputs',
    'of a task whose recording was replaced since: that unit runs again, the other is copied',
    () =>
      inWorld('reuse', async (world) => {
        await world.operator({ forced: true });
        await world.submit('first');
        await world.ended('first');
        const other = wav(0.2);
        await putInto(world, 'a.wav', other);
        await world.submit('again', { retryOf: 'first' });
        await world.sound({ first: 'Succeeded', again: 'Succeeded' });
        assert.deepEqual(await readFile(outputOf(world, 'again', 'a')), other);
        assert.match((await reusedBy(world, 'again')) ?? '', /1 copied from the task that is retried/);
      }),
    { smoke: true },
  );

  row('K3/spoilt', 'of a result that somebody changed since: that unit runs again', () =>
    inWorld(
      'reuse',
      async (world) => {
        await world.operator({ forced: true });
        await world.submit('first');
        await world.ended('first');
        await writeFile(outputOf(world, 'first', 'a'), 'FAST\n'); // as long as before
        await world.submit('again', { retryOf: 'first' });
        await world.sound({ first: 'Succeeded', again: 'Succeeded' });
        assert.equal(await readFile(outputOf(world, 'again', 'a'), 'utf8'), 'slow\n');
      },
      SPEED,
    ),
  );

  async function bind({ lab }: World, task: string, to: string): Promise<void> {
    const earlier = await lab.get(to);
    const { result } = earlier.status ?? {};
    const retryOf = {
      uid: earlier.metadata.uid,
      identity: identityOf(earlier),
      outputName: to,
      manifestSha256: result?.manifestSha256,
    };
    const path = `/apis/${API_VERSION}/namespaces/${lab.namespace}/analysistasks/${task}/status`;
    const body = { status: { phase: 'Pending', retryOf } };
    const contentType = 'application/merge-patch+json';
    expectOk(await controlPlane().api.call('PATCH', path, { body, contentType }));
  }
});

describe('K8 a container is asked to stop while a unit runs', () => {
  row(
    'K8',
    'twice, by evictions: the model hears of it and is waited for, and the unit is not to blame',
    () =>
      inWorld(
        'term',
        async (world) => {
          world.node.script('t', (attempt) => ({
            onModel: (pod: Pod) => (attempt < 3 ? void stopsWhenItRuns(world, pod) : putInto(world, 'go')),
          }));
          await world.operator({ forced: true });
          await world.submit('t');
          await world.sound({ t: 'Succeeded' });
          const { attempt, disruptions, failedAttempts = 0 } = (await world.lab.get('t')).status ?? {};
          assert.deepEqual([attempt?.number, disruptions, failedAttempts], [3, 2, 0]);
          const stops = await readFile(join(world.node.store, DATASET, RECORDINGS, 'stops'), 'utf8');
          assert.equal(stops, 'asked\nasked\n', 'what the model itself saw');
        },
        // A second between the signal and the end: whoever does not wait for the model is seen.
        shell(`trap 'sleep 1; echo asked >>"$0/stops"; exit 1' TERM; ${PATIENT} cp "$1" "$2"`, {
          failure: { ...COPY.failure, maxAttempts: 1 },
        }),
      ),
  );

  /** Evicts a pod when its first unit has started. */
  async function stopsWhenItRuns(world: World, pod: Pod): Promise<void> {
    const { uid } = pod.metadata;
    const started = async () => {
      const markers = await staged(world, uid, `${STAGING.control}/*.start`);
      return markers.length > 0 ? true : undefined;
    };
    await eventually('a unit has started', started, RECOVERY_MS);
    await evict(pod);
  }
});
