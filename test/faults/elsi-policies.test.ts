import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe } from 'mocha';
import { runName } from '../../src/elsi/run.ts';
import { type ElsiWorld, inElsiWorld } from './rig/elsi.ts';
import { row } from './rig/row.ts';
import { DATASET } from './rig/volume.ts';

describe('J what an administrator may decide', () => {
  row('J8/dropped', 'a task that stays away is cancelled where the policy says so', () =>
    inElsiWorld(async (elsi) => {
      const [uid, other] = [elsi.submit(), elsi.submit()];
      for (const each of [uid, other]) elsi.world.node.script(runName(each, 1), () => ({ model: 'hangs' }));
      await elsi.sync({ config: { policies: { dropped: 'Cancel' } } });
      await elsi.reaches(uid, 'Running');
      elsi.standIn.remove(uid);
      await elsi.reaches(uid, 'Cancelled');
      await elsi.reaches(other, 'Running');
    }),
  );

  row(
    'J/changed',
    'a task that ELSI gives another dataset while it runs is cancelled where the policy says so',
    () =>
      inElsiWorld(async (elsi) => {
        const [uid, other] = [elsi.submit(), elsi.submit()];
        for (const each of [uid, other]) elsi.world.node.script(runName(each, 1), () => ({ model: 'hangs' }));
        await elsi.sync({ config: { policies: { changed: 'Cancel' } } });
        await elsi.shows(uid, 'RUNNING');
        await elsi.shows(other, 'RUNNING');
        elsi.standIn.set(uid, { dataset_uid_label: `other_${randomUUID()}` });
        await elsi.shows(uid, 'FAILED');
        await elsi.acknowledged(uid);
        elsi.told(uid, 'FAILED');
        await elsi.reaches(uid, 'Cancelled');
        await elsi.reaches(other, 'Running');
      }),
  );

  /** A task that the daemon before had begun; what becomes of it follows from the policy. */
  const takenOver = (orphanedRunning: string, run: (elsi: ElsiWorld, uid: string) => Promise<void>) =>
    inElsiWorld(async (elsi) => {
      const uid = elsi.submit({ status_label: 'running' });
      const fresh = elsi.submit();
      await elsi.sync({ config: { policies: { orphanedRunning } } });
      await elsi.shows(fresh, 'COMPLETED');
      await run(elsi, uid);
      await elsi.complete(fresh);
    });

  row('J/taken-over/Ignore', 'a RUNNING that nobody here began is left to those who began it', () =>
    takenOver('Ignore', async (elsi, uid) => {
      await elsi.polls(3);
      elsi.told(uid, 'nothing');
      assert.equal(elsi.runs(uid), 0);
    }),
  );

  row('J/taken-over/Adopt', 'a RUNNING that nobody here began is run', () =>
    takenOver('Adopt', (elsi, uid) => elsi.complete(uid)),
  );

  row('J/taken-over/Fail', 'a RUNNING that nobody here began is told as FAILED and not run', () =>
    takenOver('Fail', async (elsi, uid) => {
      await elsi.shows(uid, 'FAILED');
      elsi.told(uid, 'FAILED');
      assert.equal(elsi.runs(uid), 0);
    }),
  );

  row(
    'J/taken-over/files',
    'files that another system left where the outputs go are kept, and FAILED is told',
    () =>
      inElsiWorld(async (elsi) => {
        const uid = randomUUID();
        const left = join(elsi.world.node.store, DATASET, 'outputs', uid, 'raw', 'all.rttm');
        await mkdir(dirname(left), { recursive: true });
        await writeFile(left, 'by the old worker');
        elsi.submit({ task_uid: uid, status_label: 'running' });
        await elsi.sync({ config: { policies: { orphanedRunning: 'Adopt' } } });
        await elsi.shows(uid, 'FAILED');
        await elsi.acknowledged(uid);
        const { status } = await elsi.world.lab.get(runName(uid, 1));
        assert.deepEqual([status?.reason, elsi.runs(uid)], ['OutputConflict', 0], status?.message);
        assert.equal(await readFile(left, 'utf8'), 'by the old worker');
      }),
  );
});
