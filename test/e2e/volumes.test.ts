import assert from 'node:assert/strict';
import { open, rm } from 'node:fs/promises';
import { z } from 'zod';
import { wav } from '../../src/agent/testing/fixtures.ts';
import type { TaskStatus } from '../../src/api/task.ts';
import { eventually } from '../support/eventually.ts';
import { atOnce, inTurn } from './support/at-once.ts';
import { setReadOnly } from './support/disks.ts';
import { endOf, settled, staging } from './support/oracle.ts';
import { wholeModel } from './support/scripts.ts';
import { CLAIM, CLAIMLESS, claimOf, FROZEN, FULL, site, STORES, volumeOf } from './support/site.ts';
import { dataset, get, onStore, podsOf, task, tree, until } from './support/work.ts';

const twoFiles = { 'a.wav': wav(), 'b.wav': wav() };
const BOTH = 'good "$2/raw/a.rttm"; good "$2/raw/b.rttm"';
/** True in the first attempt only: it sees that no other has staging in the dataset. */
const FIRST = '[ "$(ls -d /data/outputs/.staging/*/* | wc -l)" = 1 ]';

const claim = z.looseObject({
  metadata: z.looseObject({ deletionTimestamp: z.string().optional() }),
  status: z.looseObject({ phase: z.string().optional() }),
});
const HELD = ['analysis.elsi.dev/e2e'];
const pvc = ['pvc', CLAIM, '-n', CLAIMLESS];
const letGo = (kind: readonly string[]) =>
  site().kube.attempt(['patch', ...kind, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);

async function claimIs(what: string, wanted: (found: z.infer<typeof claim>) => boolean): Promise<void> {
  const path = `/api/v1/namespaces/${CLAIMLESS}/persistentvolumeclaims/${CLAIM}`;
  await eventually(`the claim is ${what}`, async () =>
    wanted(claim.parse(await site().kube.get(path))) ? true : undefined,
  );
}

const notReady = (name: string, message: RegExp): Promise<TaskStatus> =>
  until(
    name,
    `VolumeNotReady ${message}`,
    (status) => status.reason === 'VolumeNotReady' && message.test(status.message ?? ''),
    CLAIMLESS,
  );

async function succeeds(name: string): Promise<void> {
  const { status } = await settled(name, CLAIMLESS);
  assert.equal(endOf(status), 'Succeeded/Published', status.message);
  assert.equal(status.attempt?.number, 1);
}

const CLAIMS = inTurn(
  {
    'does not exist: VolumeNotReady names it, and no pod is made': async () => {
      await dataset('corpus', twoFiles, CLAIMLESS);
      await task(
        'early',
        { model: await wholeModel('claims', BOTH), dataset: { path: 'corpus' } },
        CLAIMLESS,
      );
      const { phase } = await notReady(
        'early',
        /PersistentVolumeClaim "e2e-store" in namespace .* does not exist/,
      );
      assert.equal(phase, 'Pending');
      assert.deepEqual(await podsOf((await get('early', CLAIMLESS))?.metadata.uid ?? '', CLAIMLESS), []);
    },
    'is Pending, for it has no volume: VolumeNotReady quotes the scheduler': async () => {
      await site().kube.apply([claimOf(CLAIMLESS, HELD)]);
      await notReady('early', /cannot be used yet: .*PersistentVolumeClaim/i);
      await claimIs('Pending', ({ status }) => status.phase === 'Pending');
    },
    'gets its volume: the task that waited goes on and succeeds': async () => {
      await site().kube.apply([volumeOf(CLAIMLESS)]);
      await succeeds('early');
    },
    'has lost its volume: VolumeNotReady': async () => {
      await site().kube.run(['delete', 'pv', CLAIMLESS, '--wait=false']);
      await letGo(['pv', CLAIMLESS]);
      await claimIs('Lost', ({ status }) => status.phase === 'Lost');
      await task('late', { model: 'e2e-claims', dataset: { path: 'corpus' } }, CLAIMLESS);
      await notReady('late', /has lost its volume/);
    },
    'is being deleted: VolumeNotReady': async () => {
      await site().kube.run(['delete', ...pvc, '--wait=false']);
      await claimIs('being deleted', ({ metadata }) => metadata.deletionTimestamp !== undefined);
      await notReady('late', /is being deleted/);
    },
    'is there again with its volume: the task that waited goes on and succeeds': async () => {
      await letGo(pvc);
      await eventually('the claim is gone', async () =>
        (await site().kube.attempt(['get', ...pvc])).code === 0 ? undefined : true,
      );
      await site().kube.apply([volumeOf(CLAIMLESS), claimOf(CLAIMLESS)]);
      await succeeds('late');
      await succeeds('early');
    },
  },
  async () => {
    await letGo(pvc); // a claim that is held would hold the namespace
  },
);

const filler = (): string => onStore('filler', FULL);

/** Fills a volume to its last block, as somebody else might. */
async function fill(): Promise<void> {
  const file = await open(filler(), 'a');
  try {
    for (;;) await file.write(Buffer.alloc(4096));
  } catch (error) {
    assert.ok(error instanceof Error && 'code' in error && error.code === 'ENOSPC', String(error));
  } finally {
    await file.close();
  }
}

async function fullTask(name: string, script: string, maxAttempts = 1): Promise<void> {
  await dataset(name, twoFiles, FULL);
  const model = await wholeModel(name, script, { failure: { maxAttempts, backoffSeconds: 5 } });
  await task(name, { model, dataset: { path: name } }, FULL);
}

/** Fails with this end; what the attempt left is removed as the sweep would, to make room for the next test. */
async function fullEnd(name: string, end: string, message: RegExp): Promise<void> {
  const { status } = await settled(name, FULL);
  assert.equal(endOf(status), end, status.message);
  assert.match(status.message ?? '', message);
  await rm(onStore(`${name}/outputs/.staging`, FULL), { recursive: true, force: true });
}

const SPACE = inTurn(
  {
    'when the model writes and takes no notice: Storage': async () => {
      await fullTask(
        'full-blind',
        'good "$2/raw/a.rttm"; cp "$2/raw/a.rttm" "$2/raw/b.rttm"; cat /dev/zero >>"$2/raw/b.rttm"; exit 0',
      );
      await fullEnd(
        'full-blind',
        'Failed/Storage',
        /the volume is full \(\d+ of \d+ bytes free\): free space/i,
      );
    },
    'when the model writes and fails: its own words say so': async () => {
      await fullTask('full-fail', 'mkdir "$2/raw"; cat /dev/zero >"$2/raw/a.rttm" || exit 1');
      await fullEnd('full-fail', 'Failed/ModelError', /exit code 1: .*No space left on device/);
    },
    'when publish writes the manifest: Storage, nothing is there, and the next attempt succeeds once there is room':
      async () => {
        const name = 'full-publish';
        const waitsForFull = 'i=0; while (echo x >"$2/probe$i") 2>/dev/null; do i=$((i+1)); sleep 0.1; done';
        await fullTask(name, `${BOTH}; ${FIRST} || exit 0; ${waitsForFull}`, 2);
        const isWritten = async (): Promise<true | undefined> =>
          (await tree(`${name}/outputs/.staging`, FULL)).some((file) => file.endsWith('b.rttm'))
            ? true
            : undefined;
        await eventually('the model has written', isWritten, 60_000);
        await fill();
        const { failures = [] } = await until(
          name,
          'a failure',
          (status) => status.failures !== undefined,
          FULL,
        );
        assert.equal(failures[0]?.category, 'Storage');
        assert.match(
          failures[0]?.message ?? '',
          /^the volume is full: free space or enlarge the claim \(ENOSPC/,
        );
        assert.deepEqual(await tree(`${name}/outputs/${name}`, FULL), [], 'nothing half is there');
        await rm(filler());
        const { status, manifest } = await settled(name, FULL);
        assert.equal(endOf(status), 'Succeeded/Published', status.message);
        assert.equal(manifest?.attempt, 2);
        assert.deepEqual(manifest?.extra, { count: 0, paths: [] }, 'of the second attempt alone');
      },
    'when prepare makes the staging: Storage, before a model runs': async () => {
      const name = 'full-prepare';
      await dataset(name, twoFiles, FULL);
      const model = await wholeModel(name, BOTH);
      await fill();
      await task(name, { model, dataset: { path: name } }, FULL);
      const { status } = await settled(name, FULL);
      assert.equal(endOf(status), 'Failed/Storage', status.message);
      assert.match(status.message ?? '', /the volume is full: free space or enlarge the claim/);
      assert.equal(status.startedAt, undefined);
    },
  },
  () => rm(filler(), { force: true }),
);

const frozenTask = async (name: string, script: string): Promise<void> => {
  await task(name, { model: await wholeModel(name, script), dataset: { path: 'corpus' } }, FROZEN);
};

const READ_ONLY = inTurn(
  {
    'since the model runs: Storage, nothing is there, and its staging is kept': async () => {
      await dataset('corpus', twoFiles, FROZEN);
      await frozenTask('frozen-late', `${BOTH}; while touch "$2/probe" 2>/dev/null; do sleep 0.1; done`);
      const isWritten = async (): Promise<true | undefined> =>
        (await tree('corpus/outputs/.staging', FROZEN)).some((file) => file.endsWith('b.rttm'))
          ? true
          : undefined;
      await eventually('the model has written', isWritten, 60_000);
      await setReadOnly(STORES[FROZEN], true);
      const { status, task: ended } = await settled('frozen-late', FROZEN);
      assert.equal(endOf(status), 'Failed/Storage', status.message);
      assert.match(status.message ?? '', /mounted read-only: ask the administrator to repair or remount it/);
      assert.ok((await staging(ended, FROZEN)).some((file) => file.endsWith('out/raw/b.rttm')));
    },
    'from the start: Storage, before a model runs': async () => {
      await frozenTask('frozen', BOTH);
      const { status, task: ended } = await settled('frozen', FROZEN);
      assert.equal(endOf(status), 'Failed/Storage', status.message);
      assert.match(status.message ?? '', /mounted read-only: ask the administrator to repair or remount it/);
      assert.equal(status.startedAt, undefined);
      assert.deepEqual(await staging(ended, FROZEN), []);
    },
    'no longer: a new task over the same dataset succeeds': async () => {
      await setReadOnly(STORES[FROZEN], false);
      await frozenTask('thawed', BOTH);
      const { status } = await settled('thawed', FROZEN);
      assert.equal(endOf(status), 'Succeeded/Published', status.message);
    },
  },
  () => setReadOnly(STORES[FROZEN], false),
);

// The shortest first: steps that wait for their turn take places of others.
atOnce('G9 the store', { 'is read-only': READ_ONLY, 'is full (ENOSPC)': SPACE, 'its claim': CLAIMS });
