import assert from 'node:assert/strict';
import { copyFileSync, renameSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'mocha';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { hashFile } from '../../src/agent/manifest.ts';
import { type Drift, recheckOutputs } from '../../src/agent/recheck.ts';
import { STAGING } from '../../src/api/request.ts';
import { makeDisk, mountDisk, unmount } from '../support/disk.ts';
import { eventually } from '../support/eventually.ts';
import { aStoreAgent } from '../support/store-agent.ts';
import { killedWhileClearing, KILLED, runCommand, runStep } from './rig/program.ts';
import { row } from './rig/row.ts';
import { DATASET } from './rig/volume.ts';
import { type Expected, inWorld, RECOVERY_MS, type World } from './rig/world.ts';

const outputsOf = (world: World, name: string): string =>
  join(world.node.store, DATASET, STAGING.outputs, name);

/** Everything in which a published directory differs from what its task says. */
async function driftOf(directory: string, manifestSha256: string): Promise<Drift[]> {
  const found: Drift[] = [];
  await recheckOutputs(directory, {
    concurrency: 2,
    manifestSha256,
    onDrift: (drift) => void found.push(drift),
  });
  return found;
}

async function manifestOf(world: World, task: string): Promise<string> {
  const { manifestSha256 = 'none' } = (await world.lab.get(task)).status?.result ?? {};
  return manifestSha256;
}

/** A model of one shell command: $1 is the input, $2 the output, $3 the directory of the output. */
const shell = (script: string): Partial<ModelSpecInput> => ({
  run: { per: 'File', command: ['sh', '-c', script, 'model', '{input}', '{output}', '{outputDir}'] },
});

const DISK_MIB = 32;
/** Nothing goes to the disk by itself while a row runs: what is there was flushed. */
const LAZY = ['commit=600', 'noauto_da_alloc'];

/** Puts the dataset of a world on a disk of its own and runs with the file that holds it. */
async function onDisk({ node }: World, run: (image: string, place: string) => Promise<void>): Promise<void> {
  const dataset = join(node.store, DATASET);
  const place = await mkdtemp(join(tmpdir(), 'disk-'));
  const [image, recordings] = [join(place, 'disk.img'), join(place, 'recordings')];
  try {
    await cp(dataset, recordings, { recursive: true });
    const isMounted = (await makeDisk(image, DISK_MIB)) && (await mountDisk(image, dataset, LAZY));
    assert.ok(isMounted, 'a loss of power is shown on an ext4 of its own: this takes root and a loop device');
    await cp(recordings, dataset, { recursive: true });
    await run(image, place);
  } finally {
    await unmount(dataset);
    await rm(place, { recursive: true, force: true });
  }
}

/** Mounts what a disk held when it lost its power, as the machine does when it comes back. */
async function afterPowerLoss(copy: string, look: (dataset: string) => Promise<void>): Promise<void> {
  const mount = await mkdtemp(join(tmpdir(), 'after-'));
  try {
    assert.ok(await mountDisk(copy, mount), 'the journal is replayed');
    await look(mount);
  } finally {
    await unmount(mount);
    await rm(mount, { recursive: true, force: true });
  }
}

describe('K1 the power fails in the moment of the report', () => {
  row('K1', 'what was reported is complete on the disk: outputs, extra files, manifest and names', () =>
    inWorld(
      'power',
      (world) =>
        onDisk(world, async (image, place) => {
          const copy = join(place, 'copy.img');
          world.node.script('t', () => ({
            publish: async (where) => {
              const code = await killedWhileClearing(where);
              copyFileSync(image, copy); // what the mounted file system holds in memory alone is not in it
              return code;
            },
          }));
          await world.operator({ forced: true });
          await world.submit('t');
          await world.sound({ t: 'Succeeded' });
          assert.deepEqual(
            world.node.ledger.map(({ published }) => published),
            [KILLED],
          );
          const manifest = await manifestOf(world, 't');
          await afterPowerLoss(copy, async (dataset) => {
            const there = join(dataset, STAGING.outputs, 't');
            assert.deepEqual(await driftOf(there, manifest), []);
            const files = await readdir(there, { recursive: true, withFileTypes: true });
            const names = files
              .filter((file) => file.isFile())
              .map((file) => join(file.parentPath, file.name));
            assert.equal(names.length, 6, names.join());
            for (const name of names) assert.ok((await stat(name)).size > 0, `${name} is empty`);
          });
        }),
      shell('cp "$1" "$2"; echo done >"$2.log"'),
    ),
  );
});

describe('K2 somebody else publishes in the same place', () => {
  row(
    'K2/between',
    'after publish has looked and before it renames: OutputConflict, and the other result stays as it is',
    () =>
      inWorld('fence', async (world) => {
        const shared = outputsOf(world, 'shared');
        let met = 0;
        world.node.script('late', () => ({
          // The time is asked for when everything is verified; the rename comes next.
          publish: (place) =>
            runStep('publish', place, {
              now: () => {
                if (met++ === 0) renameSync(`${shared}-aside`, shared);
                return new Date();
              },
            }),
        }));
        await world.operator({ forced: true });
        await world.submit('early', { outputName: 'shared' });
        await world.ended('early');
        const manifest = await manifestOf(world, 'early');
        renameSync(shared, `${shared}-aside`);
        await world.submit('late', { outputName: 'shared' });
        await conflicts(world, { early: 'Succeeded', late: 'Failed' });
        assert.ok(met > 0, 'publish came as far as that');
        assert.deepEqual(await driftOf(shared, manifest), []);
      }),
  );

  row(
    'K2/before',
    'before the task begins: OutputConflict, no model runs, and nothing of it is taken for its own',
    () =>
      inWorld('fence', async (world) => {
        await world.operator({ forced: true });
        await world.submit('early', { outputName: 'shared' });
        await world.ended('early');
        const manifest = await manifestOf(world, 'early');
        await world.submit('late', { outputName: 'shared' });
        await conflicts(world, { early: 'Succeeded', late: 'Failed' });
        assert.equal(world.node.ledger.length, 1);
        assert.deepEqual(await driftOf(outputsOf(world, 'shared'), manifest), []);
      }),
    { smoke: true },
  );

  /** O8 asks whether anything stands at the place of a failed task; here that is the other one's. */
  async function conflicts(world: World, expected: Readonly<Record<string, Expected>>): Promise<void> {
    await world.sound(expected, (violation) => violation.startsWith('O8 late'));
    assert.equal((await world.lab.get('late')).status?.reason, 'OutputConflict');
  }
});

describe('K4 a model says more than it did', () => {
  const LIES: Readonly<
    Record<string, readonly [what: string, reason: string, model: Partial<ModelSpecInput>]>
  > = {
    nothing: ['exits with 0 and wrote nothing', 'MissingOutput', shell('exit 0')],
    empty: ['exits with 0 and wrote an empty file', 'MissingOutput', shell(': >"$2"')],
    link: ['exits with 0 and put a link to its input there', 'MissingOutput', shell('ln -s "$1" "$2"')],
    'link-above': [
      'wrote everything elsewhere and put a link in the place of the directory',
      'MissingOutput',
      shell('mkdir -p "$3.own"; cp "$1" "$3.own/$(basename "$2")"; rm -r "$3"; ln -s "$3.own" "$3"'),
    ],
    killed: ['is killed with nothing written', 'OutOfMemory', shell('kill -9 $$')],
    half: [
      'wrote one of two outputs',
      'MissingOutput',
      shell('[ "$(basename "$1")" = a.wav ] || exit 0; cp "$1" "$2"'),
    ],
    'exit-code': ['wrote everything and exits with 3', 'ModelError', shell('cp "$1" "$2"; exit 3')],
  };
  for (const [name, [what, reason, model]] of Object.entries(LIES))
    row(
      `K4/${name}`,
      `${what}: ${reason}, and nothing is published`,
      () =>
        inWorld(
          'lies',
          async (world) => {
            await world.operator({ forced: true });
            await world.submit('t');
            await world.sound({ t: 'Failed' });
            assert.equal((await world.lab.get('t')).status?.reason, reason);
          },
          model,
        ),
      { smoke: name === 'nothing' },
    );
});

describe('K6 staging is cleared away', () => {
  row('K6/published', 'by a task that has published: what another one has staged stays', () =>
    inWorld('clear', async (world) => {
      const released = Promise.withResolvers<void>();
      world.node.script('slow', () => ({ until: released.promise }));
      await world.operator({ forced: true });
      await world.submit('slow');
      await world.running('slow');
      await world.submit('quick');
      await world.ended('quick');
      released.resolve();
      await world.sound({ slow: 'Succeeded', quick: 'Succeeded' });
      assert.equal((await world.lab.get('slow')).status?.attempt?.number, 1);
    }),
  );

  row('K6/swept', 'by the sweeper: what belongs to no task goes, what a model still needs stays', () =>
    inWorld('sweep', async (world) => {
      const agent = await aStoreAgent(world.node.store);
      const released = Promise.withResolvers<void>();
      try {
        await agent.start('--least-idle-seconds', '0');
        world.node.script('t', () => ({ until: released.promise }));
        const storeAgent = { urlTemplate: agent.url(), tokenFile: agent.tokenFile, timeoutSeconds: 5 };
        const sweeps = { sweepIntervalSeconds: 5, unknownStagingSeconds: 1 };
        await world.operator({ forced: true, config: { storeAgent: { ...storeAgent, ...sweeps } } });
        await world.submit('t');
        await world.running('t');
        const staging = join(world.node.store, DATASET, STAGING.outputs, STAGING.staging);
        await mkdir(join(staging, 'of-nobody', 'pod'), { recursive: true });
        const isGone = async () => ((await readdir(staging)).includes('of-nobody') ? undefined : true);
        await eventually('what belongs to nobody is gone', isGone, RECOVERY_MS);
        released.resolve();
        await world.sound({ t: 'Succeeded' });
        assert.equal((await world.lab.get('t')).status?.attempt?.number, 1);
      } finally {
        released.resolve();
        await agent.remove();
      }
    }),
  );
});

describe('K7 a published result is spoilt', () => {
  row('K7', 'a byte of an output, and a manifest that agrees with it: verify tells both', () =>
    inWorld('spoilt', async (world) => {
      await world.operator({ forced: true });
      await world.submit('t');
      await world.sound({ t: 'Succeeded' });
      const directory = outputsOf(world, 't');
      const sum = ['--manifest-sha256', await manifestOf(world, 't')];
      const codeOf = async (...more: string[]) => (await runCommand('verify', directory, ...more)).code;
      assert.equal(await codeOf(...sum), 0, 'as it was published');
      const [output, manifest] = [join(directory, 'raw/a'), join(directory, 'manifest.json')];
      const bytes = await readFile(output);
      const before = await hashFile(output);
      const spoilt = Buffer.from(bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte)));
      await writeFile(output, spoilt);
      assert.equal(await codeOf(), 1, 'another byte, the same size');
      const text = await readFile(manifest, 'utf8');
      // Both recordings are the same silence: the first of the two hashes is meant.
      await writeFile(manifest, text.replace(before, await hashFile(output)));
      assert.equal(await codeOf(), 0, 'the manifest agrees');
      assert.equal(await codeOf(...sum), 1, 'but it is another one');
    }),
  );
});

describe('K9 publish is killed when it has renamed and begins to clear away', () => {
  row('K9', 'its report is out: Succeeded in its first attempt', () =>
    inWorld('killed', async (world) => {
      world.node.script('t', () => ({ publish: killedWhileClearing }));
      await world.operator({ forced: true });
      await world.submit('t');
      await world.sound({ t: 'Succeeded' });
      assert.equal(world.node.ledger[0]?.published, KILLED);
      const { attempt, result } = (await world.lab.get('t')).status ?? {};
      assert.equal(attempt?.number, 1);
      assert.deepEqual(await driftOf(outputsOf(world, 't'), result?.manifestSha256 ?? ''), []);
    }),
  );

  row('K9/cancelled', 'of a task that is cancelled meanwhile: what is published is told', () =>
    inWorld('killed', async (world) => {
      world.node.script('t', () => ({
        publish: async (place) => {
          await world.desire('t', 'Cancel');
          await world.until('t', 'Cancelling', ({ reason }) => reason === 'Cancelling');
          return killedWhileClearing(place);
        },
      }));
      await world.operator({ forced: true });
      await world.submit('t');
      await world.sound({ t: 'Succeeded' });
      assert.equal(world.node.ledger[0]?.published, KILLED);
    }),
  );
});
