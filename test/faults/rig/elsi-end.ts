import assert from 'node:assert/strict';
import { z } from 'zod';
import type { StandIn } from '../../../hack/elsi-stand-in/server.ts';
import { API_VERSION, FINALIZER, LABEL, ORIGIN_ELSI } from '../../../src/api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../../src/api/objects.ts';
import { isTerminal } from '../../../src/api/task.ts';
import { ELSI_STATUSES, rankOf } from '../../../src/elsi/wire.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { RECOVERY_MS, type World } from './world.ts';

/** What an ELSI knows and what the cluster has of it, once a row is over. */
export interface ElsiEnd {
  readonly world: World;
  readonly standIn: StandIn;
  /** Every uid that ELSI ever had. */
  readonly known: ReadonlySet<string>;
  readonly polls: (count: number) => Promise<void>;
}

/** Fails unless ELSI and the cluster agree in the end. Somebody has to lead: what nobody looks at cannot agree. */
export async function agreesInTheEnd(end: ElsiEnd): Promise<void> {
  await end.polls(2);
  const none = async () => ((await disagreements(end)).length === 0 ? true : undefined);
  await eventually('ELSI and the cluster agree', none, RECOVERY_MS).catch(() => undefined);
  assert.deepEqual(await disagreements(end), []);
}

const taskList = z.object({ items: z.array(z.unknown()) });

async function runsOf({ lab }: World): Promise<readonly AnalysisTask[]> {
  const selector = encodeURIComponent(`${LABEL.origin}=${ORIGIN_ELSI}`);
  const path = `/apis/${API_VERSION}/namespaces/${lab.namespace}/analysistasks?labelSelector=${selector}`;
  const { items } = taskList.parse(expectOk(await controlPlane().api.call('GET', path)));
  return items.map((item) => analysisTask.parse(item));
}

const uidOf = ({ metadata: { labels = {} } }: AnalysisTask): string => labels[LABEL.elsiTask] ?? '';

async function disagreements({ world, standIn, known }: ElsiEnd): Promise<string[]> {
  const runs = await runsOf(world);
  const owners = new Set(runs.map(uidOf));
  const foundlings = [...owners]
    .filter((uid) => !known.has(uid))
    .map((uid) => `I9 ELSI never had task ${uid}`);
  const forgotten = [...standIn.tasks.values()]
    .filter(({ task_uid, status_label }) => status_label.toLowerCase() === 'pending' && !owners.has(task_uid))
    .map(({ task_uid }) => `I9 ${task_uid} is PENDING and has no AnalysisTask`);
  return [...foundlings, ...forgotten, ...runs.flatMap((run) => untold(run, runs, standIn))];
}

/** I8, I11: ELSI shows how the newest run of each of its tasks ended, and nothing holds that run any more. */
function untold(run: AnalysisTask, runs: readonly AnalysisTask[], standIn: StandIn): string[] {
  const { metadata, status: { phase } = {} } = run;
  const uid = uidOf(run);
  const shown = standIn.tasks.get(uid)?.status_label.toUpperCase();
  const isNewest = runs.every(
    (other) => uidOf(other) !== uid || other.metadata.creationTimestamp <= metadata.creationTimestamp,
  );
  if (!isTerminal(phase) || shown === undefined || !isNewest) return [];
  const isGood = phase === 'Succeeded' || phase === 'PartiallySucceeded';
  const verdict = isGood ? 'COMPLETED' : 'FAILED';
  return [
    ...(shown === verdict ? [] : [`I8 ${metadata.name} is ${phase}, but ELSI shows ${shown}`]),
    ...(metadata.finalizers?.includes(FINALIZER.elsi)
      ? [`I11 ${metadata.name} has ended, but ${FINALIZER.elsi} holds it`]
      : []),
  ];
}

/** I8: no PUT said less than ELSI showed when it came. Only for one leader: two may know different things. */
export function neverTakenBack(puts: StandIn['puts']): string[] {
  return puts.flatMap(({ uid, body, before }) => {
    const sent = ELSI_STATUSES.find((status) => body.includes(`"status":"${status}"`));
    const shown = ELSI_STATUSES.find((status) => status === before.toUpperCase());
    return sent && shown && rankOf(sent) < rankOf(shown)
      ? [`I8 ${uid} showed ${shown} and was told ${sent}`]
      : [];
  });
}
