import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type StandIn, type StandInOptions, startStandIn } from '../../../hack/elsi-stand-in/server.ts';
import type { Phase } from '../../../src/api/task.ts';
import { messageOf } from '../../../src/controller/settle.ts';
import { runName } from '../../../src/elsi/run.ts';
import { ELSI_STATUSES, type ElsiStatus, rankOf } from '../../../src/elsi/wire.ts';
import { controlPlane } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { type Operator, startProgram } from '../../support/operator.ts';
import { agreesInTheEnd, neverTakenBack } from './elsi-end.ts';
import { leaksOf } from './leaks.ts';
import type { Proxy } from './proxy.ts';
import { DATASET } from './volume.ts';
import { inWorld, RECOVERY_MS, type World } from './world.ts';

/** A secret that must never be seen anywhere but in its file and on the wire. */
export const SECRET = 'canary-5c1e-never-to-be-seen';

/** A world with an ELSI: a stand-in, the operator, and as many processes of elsi-sync as a row wants. */
export interface ElsiWorld {
  readonly world: World;
  readonly standIn: StandIn;
  /** Starts an elsi-sync; `forced` leads without asking the lease. */
  sync(options?: SyncChoice): Promise<Operator>;
  /** A new task of ELSI over the dataset of the world; returns its uid. */
  submit(change?: Partial<Parameters<StandIn['add']>[0]>): string;
  /** Waits until ELSI shows this status. */
  shows(uid: string, status: ElsiStatus): Promise<void>;
  /** Waits until a run of a task has no finalizer: ELSI was seen to show its end. */
  acknowledged(uid: string, run?: number): Promise<void>;
  /** ELSI shows that they are completed, was told so once in order and is known to show it; and all oracles hold. */
  complete(...uids: readonly string[]): Promise<void>;
  /** Waits for so many more lists. */
  polls(count: number): Promise<void>;
  /** How often the model of a task ran. */
  runs(uid: string): number;
  /** Waits until the first run of a task has this phase. */
  reaches(uid: string, phase: Phase): Promise<void>;
  /** Fails unless the PUTs of a task never went back and told exactly this end, if any. */
  told(uid: string, end: ElsiStatus | 'nothing'): void;
  /** Stops the stand-in and starts it again on the same port, with what it remembers. */
  outage(whileDown: () => Promise<void>): Promise<void>;
}

export interface SyncChoice {
  readonly forced?: boolean;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Between it and the API server; by default nothing is. */
  readonly proxy?: Pick<Proxy, 'kubeconfig'>;
  /** Where it finds ELSI. @default the stand-in */
  readonly url?: string;
  readonly preload?: string;
  /** The checkout that it is started from. @default this one */
  readonly source?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ElsiOptions extends Partial<StandInOptions> {
  /** Without an operator the row itself says how tasks go on. @default true */
  readonly operator?: boolean;
}

const CREDENTIALS = { clientId: 'lab', clientSecret: SECRET };

export async function inElsiWorld(
  run: (elsi: ElsiWorld) => Promise<void>,
  { operator = true, ...options }: ElsiOptions = {},
): Promise<void> {
  await inWorld('elsi', async (world) => {
    const directory = await mkdtemp(join(tmpdir(), 'elsi-'));
    await writeFile(join(directory, 'client_id'), CREDENTIALS.clientId);
    await writeFile(join(directory, 'client_secret'), `${SECRET}\n`);
    const file = join(directory, 'stand-in.json');
    const state = { standIn: await startStandIn({ ...CREDENTIALS, file, ...options }) };
    const [syncs, known]: [Operator[], Set<string>] = [[], new Set()];
    try {
      if (operator) await world.operator({ lease: 'usual' });
      const parts = { state, syncs, known, directory, options: { ...CREDENTIALS, file, ...options } };
      const elsi = elsiWorld(world, parts);
      await run(elsi);
      assert.deepEqual(state.standIn.unusedFaults(), [], 'a fault of the row never came');
      await judge(elsi, parts);
    } catch (error) {
      const log = syncs.flatMap((sync) => sync.log()).slice(-20);
      throw new Error(`${messageOf(error)}\nthe logs of elsi-sync end with\n${log.join('\n')}`, {
        cause: error,
      });
    } finally {
      await Promise.all(syncs.map((sync) => sync.stop('SIGKILL')));
      await state.standIn.close();
    }
  });
}

interface Parts {
  readonly state: { standIn: StandIn };
  readonly syncs: Operator[];
  /** Uid of every task that the row gave to ELSI. */
  readonly known: Set<string>;
  readonly directory: string;
  readonly options: StandInOptions;
}

function elsiWorld(world: World, { state, syncs, known, directory, options }: Parts): ElsiWorld {
  const elsi: ElsiWorld = {
    world,
    get standIn() {
      return state.standIn;
    },
    async sync({ forced = false, config = {}, proxy, url, ...process } = {}) {
      const base = {
        elsi: {
          baseUrl: `${url ?? state.standIn.url}/api`,
          credentialsDirectory: directory,
          timeoutSeconds: 2,
          listTimeoutSeconds: 60,
        },
        namespace: world.lab.namespace,
        models: { vtc: world.model },
        intervalSeconds: 1,
        leaderElection: forced
          ? { enabled: false }
          : {
              namespace: world.lab.namespace,
              leaseDurationSeconds: 3,
              renewDeadlineSeconds: 2,
              retryPeriodSeconds: 1,
            },
      };
      const sync = await startProgram('elsi-sync', {
        kubeconfig: proxy?.kubeconfig ?? controlPlane().kubeconfig,
        config: { ...base, ...config },
        ...process,
      });
      syncs.push(sync);
      return sync;
    },
    submit(change = {}) {
      const task = { task_uid: randomUUID(), model_name: 'vtc', dataset_uid_label: DATASET, ...change };
      known.add(task.task_uid);
      return state.standIn.add(task).task_uid;
    },
    shows: async (uid, status) => {
      await eventually(
        `ELSI shows ${status}`,
        () => (state.standIn.tasks.get(uid)?.status_label.toUpperCase() === status ? true : undefined),
        RECOVERY_MS,
      );
    },
    async acknowledged(uid, run = 1) {
      const held = async () => (await world.lab.get(runName(uid, run))).metadata.finalizers ?? [];
      const free = async () => ((await held()).length === 0 ? true : undefined);
      await eventually('the end is acknowledged', free, RECOVERY_MS);
    },
    async complete(...uids) {
      for (const uid of uids) {
        await elsi.shows(uid, 'COMPLETED');
        await elsi.acknowledged(uid);
        elsi.told(uid, 'COMPLETED');
      }
      await world.sound(Object.fromEntries(uids.map((uid) => [runName(uid, 1), 'Succeeded'])));
    },
    async polls(count) {
      const until = state.standIn.requests.list + count;
      const there = () => (state.standIn.requests.list >= until ? true : undefined);
      await eventually(`${count} more lists`, there, RECOVERY_MS);
    },
    runs: (uid) => world.node.ledger.filter(({ task }) => task.includes(uid)).length,
    reaches: async (uid, phase) => {
      const there = async () =>
        (await world.lab.get(runName(uid, 1)).catch(() => undefined))?.status?.phase === phase
          ? true
          : undefined;
      await eventually(`run 1 is ${phase}`, there, RECOVERY_MS);
    },
    told: (uid, end) => assertTold(state.standIn, uid, end),
    async outage(whileDown) {
      const port = Number(new URL(state.standIn.url).port);
      await state.standIn.close();
      await whileDown();
      state.standIn = await startStandIn({ ...options, port });
    },
  };
  return elsi;
}

/** J: per run exactly one end, order PENDING < RUNNING < end, never back. */
function assertTold(standIn: StandIn, uid: string, end: ElsiStatus | 'nothing'): void {
  const words = standIn.audit.flatMap((entry) =>
    entry.uid === uid && entry.status ? [wordOf(entry.status)] : [],
  );
  const ranks = words.map(rankOf);
  assert.deepEqual(
    ranks,
    ranks.toSorted((a, b) => a - b),
    `the PUTs of ${uid} went back: ${words.join(', ')}`,
  );
  const ends = new Set(words.filter((word) => rankOf(word) === 2));
  assert.deepEqual([...ends], end === 'nothing' ? [] : [end]);
}

function wordOf(text: string): ElsiStatus {
  const known = ELSI_STATUSES.find((status) => status === text);
  return known ?? assert.fail(`ELSI was told "${text}"`);
}

/** What holds at the end of every row: ELSI and the cluster agree where somebody looks, and no secret got out. */
async function judge(elsi: ElsiWorld, { state, syncs, known }: Parts): Promise<void> {
  const { world } = elsi;
  const { standIn } = state;
  const leading = await aliveOf(syncs);
  if (leading > 0)
    await agreesInTheEnd({ world, standIn, known, polls: (count) => elsi.polls(count) }).catch(
      async (error: unknown) => {
        // On a machine that stalls the last one may have lost its lease since; then nobody looks any more.
        if ((await aliveOf(syncs)) > 0) throw error;
      },
    );
  if (leading < 2) assert.deepEqual(neverTakenBack(standIn.puts), []);
  assert.deepEqual(await leaksOf(world, [...world.operators, ...syncs], SECRET), []);
}

async function aliveOf(syncs: readonly Operator[]): Promise<number> {
  const answers = await Promise.allSettled(syncs.map(({ healthUrl }) => fetch(`${healthUrl}/livez`)));
  return answers.filter((answer) => answer.status === 'fulfilled' && answer.value.ok).length;
}
