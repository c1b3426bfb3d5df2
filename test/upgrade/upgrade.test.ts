import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'mocha';
import { z } from 'zod';
import { verified } from '../../hack/callback-receiver/received.ts';
import { callbackValues, deployReceiver, ENDPOINT } from '../../hack/demo/callbacks.ts';
import type { DeployedStandIn } from '../../hack/elsi-stand-in/deploy.ts';
import type { DeployedPeer } from '../../hack/peers/deploy.ts';
import { peerImage } from '../../hack/peers/image.ts';
import { wav } from '../../src/agent/testing/fixtures.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { runName } from '../../src/elsi/run.ts';
import { deployedStandIn, syncSettings } from '../e2e/support/elsi.ts';
import { settled, staging } from '../e2e/support/oracle.ts';
import { PROCESS, signalWhenStarted } from '../e2e/support/processes.ts';
import { fileModel, openGate, patchTask, podOf } from '../e2e/support/scripts.ts';
import {
  imageSettings,
  OPERATOR,
  presentRelease,
  provideImages,
  type Release,
  rollBackChart,
  SET_UP_MS,
  site,
  TASKS,
  upgradeChart,
  wantSite,
} from '../e2e/support/site.ts';
import { dataset, get, podsOf, task, until } from '../e2e/support/work.ts';
import { eventually } from '../support/eventually.ts';
import { keepLedger, type Ledger } from './ledger.ts';
import { previousRelease } from './release.ts';

/*
 * The chart and the image of the previous commit (or of the one that UPGRADE_FROM names) on a real cluster, upgraded by
 * helm to the present ones, rolled back and upgraded again, while there is work in flight. Each change has tasks of its
 * own, which are in the middle of their work when it comes.
 */

const INSTALLED_LEASE = {
  'config.leaderElection.leaseDurationSeconds': '15',
  'config.leaderElection.renewDeadlineSeconds': '10',
  'config.leaderElection.retryPeriodSeconds': '2',
};
const released = previousReleaseOnce();
wantSite({ release: released, settings: INSTALLED_LEASE, ownCrds: true });

const TELL_MS = 60_000;
const MODELS = { elsi: 'upgrade-elsi' };

interface Peers {
  readonly standIn: DeployedStandIn;
  readonly receiver: DeployedPeer;
}

/** The tasks of one change, by what is special about them. */
interface Wave {
  /** Runs, and somebody waits for callbacks. */
  readonly runs: string;
  /** Its first attempt is killed after the change. */
  readonly retries: string;
  readonly suspended: string;
  /** Of ELSI, with its uid there. */
  readonly elsi: string;
  readonly uid: string;
}

describe('an upgrade of the chart and the way back, with work in flight', () => {
  let peers: Peers;
  let ledger: Ledger;
  const waves: Wave[] = [];

  before(async function () {
    this.timeout(SET_UP_MS);
    peers = await connect((await released()).root);
    ledger = keepLedger(TASKS);
    await createModels();
  });
  after(() => ledger.close());

  const revision = { previous: 2 };
  const changes: Readonly<Record<string, () => Promise<void>>> = {
    'helm upgrade to the present chart and image': upgrade,
    'helm rollback to the previous ones': () => rollBackChart(revision.previous),
    'helm upgrade once more': upgrade,
  };
  for (const [index, [what, change]] of Object.entries(changes).entries())
    it(`${what}: pods that run are left alone, and no operator restarts`, async () => {
      const wave = await inFlight(index + 1, peers);
      waves.push(wave);
      const pods = await podsThatRun(wave);
      await change();
      assert.deepEqual(await podsThatRun(wave), pods);
      assert.deepEqual(await restartsOfOperators(), []);
      await goOn(wave);
    });

  it('every task ends as it should, with one result on the volume and one pod for each attempt', async () => {
    for (const wave of waves) {
      await endsAfter(wave.runs, 1);
      await endsAfter(wave.suspended, 1);
      const { manifest } = await endsAfter(wave.retries, 2);
      assert.deepEqual(
        manifest?.units.map(({ outcome }) => outcome),
        ['Reused', 'Done'],
      );
      await endsAfter(wave.elsi, 1);
    }
    const expected = waves
      .flatMap(({ runs, retries, suspended, elsi }) => [
        `${runs}/1`,
        `${retries}/1`,
        `${retries}/2`,
        `${suspended}/1`,
        `${elsi}/1`,
      ])
      .toSorted();
    for (const seen of [ledger.jobs(), ledger.pods()]) {
      const counts = Object.fromEntries([...seen].map(([key, uids]) => [key, uids.size]));
      assert.deepEqual(counts, Object.fromEntries(expected.map((key) => [key, 1])));
    }
  });

  it('ELSI was told each end once, and the receiver took each event once with a good signature', async () => {
    for (const { uid } of waves) {
      await eventually(
        `${uid} is acknowledged`,
        async () => ((await get(runName(uid, 1)))?.metadata.finalizers ?? []).length === 0 || undefined,
        TELL_MS,
      );
      const words = (await peers.standIn.audit()).flatMap((entry) =>
        entry.uid === uid && entry.status ? [entry.status] : [],
      );
      assert.deepEqual([...new Set(words)], ['RUNNING', 'COMPLETED'], words.join());
      assert.equal(words.filter((word) => word === 'COMPLETED').length, 1, words.join());
    }
    for (const { runs } of waves) {
      const words = await eventually(`events of ${runs}`, () => endIsTold(peers.receiver, runs), TELL_MS);
      assert.deepEqual(words, ['started', 'succeeded'], runs);
    }
    const log = await site().kube.run(['logs', 'deployment/callback-receiver', '-n', OPERATOR.namespace]);
    assert.ok(!log.includes('refused'), log);
  });

  it('a task that is deleted then goes, and leaves no Job, pod or staging', async () => {
    const tasks = await Promise.all(namesOf(waves).map((name) => get(name)));
    await site().kube.run(['delete', 'atask', '--all', '-n', TASKS, '--timeout=60s']);
    await site().kube.run(['wait', 'job,pod', '--all', '-n', TASKS, '--for=delete', '--timeout=60s']);
    for (const found of tasks) assert.deepEqual(found && (await staging(found)), []);
    assert.deepEqual(await restartsOfOperators(), []);
  });
});

function previousReleaseOnce(): () => Promise<Release> {
  let made: Promise<Release> | undefined;
  return () => (made ??= previousRelease());
}

async function upgrade(): Promise<void> {
  const release = await presentRelease();
  await provideImages([release.image]);
  await upgradeChart(release.root, imageSettings(release));
}

/** Puts ELSI and the receiver beside the previous version, and tells it of them: revision 2 of the release. */
async function connect(root: string): Promise<Peers> {
  const image = await peerImage('callback-receiver');
  await provideImages([image]);
  const { namespace } = OPERATOR;
  const [standIn, receiver] = await Promise.all([
    deployedStandIn(),
    deployReceiver(site().kube, image.tag, namespace),
  ]);
  await receiver.ready();
  const elsi = syncSettings(standIn.url, TASKS, { vtc: `e2e-${MODELS.elsi}` });
  await upgradeChart(root, { ...elsi, ...callbackValues(receiver.url) });
  return { standIn, receiver };
}

const twice: Partial<ModelSpecInput> = { failure: { maxAttempts: 2, backoffSeconds: 0 } };

async function createModels(): Promise<void> {
  await fileModel('upgrade-waits', 'gate go; good "$2"');
  await fileModel(MODELS.elsi, 'gate go; good "$2"');
  await fileModel('upgrade-second', 'case $1 in *b.wav) gate go;; esac; good "$2"', twice);
}

/** Starts the tasks of a change and waits until each is where the change is to meet it. */
async function inFlight(number: number, { standIn }: Peers): Promise<Wave> {
  const uid = randomUUID();
  const [runs, retries, suspended] = ['runs', 'retries', 'suspended'].map((what) => `${what}-${number}`);
  assert.ok(runs && retries && suspended);
  const wave = { runs, retries, suspended, elsi: runName(uid, 1), uid };
  for (const name of [runs, suspended, uid]) await dataset(name, { 'a.wav': wav() });
  await dataset(retries, { 'a.wav': wav(), 'b.wav': wav() });
  await task(runs, { model: 'e2e-upgrade-waits', dataset: { path: runs }, callbacks: [ENDPOINT] });
  await task(retries, { model: 'e2e-upgrade-second', dataset: { path: retries } });
  await task(suspended, { model: 'e2e-upgrade-waits', dataset: { path: suspended }, desired: 'Suspend' });
  await standIn.add({ task_uid: uid, model_name: 'vtc', dataset_uid_label: `corpus_${uid}` });
  await until(suspended, 'Suspended', ({ reason }) => reason === 'Suspended');
  for (const name of [runs, wave.elsi]) await until(name, 'Running', ({ phase }) => phase === 'Running');
  await until(retries, 'one unit done', ({ progress }) => progress?.unitsDone === 1);
  return wave;
}

/** After the change: models end, one is killed, one begins. */
async function goOn({ runs, retries, suspended, uid }: Wave): Promise<void> {
  for (const name of [runs, suspended, uid]) await openGate(name, 'go');
  await patchTask(suspended, { desired: 'Run' });
  await signalWhenStarted((await podOf(retries)).metadata.uid, PROCESS.loop, 'SIGKILL');
  await openGate(retries, 'go');
}

const namesOf = (waves: readonly Wave[]): string[] =>
  waves.flatMap(({ runs, retries, suspended, elsi }) => [runs, retries, suspended, elsi]);

const containers = z.array(z.looseObject({ name: z.string(), restartCount: z.number() })).default([]);
const statuses = z.looseObject({
  phase: z.string(),
  initContainerStatuses: containers,
  containerStatuses: containers,
});

/** Pods of a change's tasks in words: which one, where it stands, and how often its containers were started again. */
async function podsThatRun(wave: Wave): Promise<string[]> {
  const tasks = await Promise.all(namesOf([wave]).map((name) => get(name)));
  const pods = await Promise.all(tasks.map((found) => podsOf(found?.metadata.uid ?? '')));
  return pods.flat().map(({ metadata, status }) => {
    const { phase, initContainerStatuses } = statuses.parse(status);
    const counts = initContainerStatuses.map(({ name, restartCount }) => `${name} ${restartCount}`);
    return `${metadata.name} ${metadata.uid} ${phase} ${metadata.deletionTimestamp ?? ''} ${counts.join(', ')}`;
  });
}

const podList = z.object({
  items: z.array(z.looseObject({ metadata: z.looseObject({ name: z.string() }), status: statuses })),
});

/** Containers of operator and elsi-sync that did not end by themselves once and for all. */
async function restartsOfOperators(): Promise<string[]> {
  const list = podList.parse(await site().kube.get(`/api/v1/namespaces/${OPERATOR.namespace}/pods`));
  return list.items.flatMap(({ metadata, status }) =>
    status.containerStatuses
      .filter(({ restartCount }) => restartCount > 0)
      .map(({ name, restartCount }) => `${metadata.name}/${name}: ${restartCount} restarts`),
  );
}

async function endsAfter(name: string, attempts: number) {
  const end = await settled(name);
  assert.equal(end.status.phase, 'Succeeded', `${name}: ${end.status.message}`);
  assert.deepEqual([end.status.attempt?.number, end.manifest?.attempt], [attempts, attempts], name);
  return end;
}

/** The events of a task, once its end is among them. */
async function endIsTold(receiver: DeployedPeer, name: string): Promise<string[] | undefined> {
  const events = z.array(verified).parse(await receiver.get('/received'));
  const words = events
    .filter(({ data }) => data.task.name === name)
    .map(({ type }) => type.split('.').at(-1) ?? '');
  return words.includes('succeeded') ? words : undefined;
}
