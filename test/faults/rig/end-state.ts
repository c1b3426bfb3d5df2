import { z } from 'zod';
import { FINALIZER } from '../../../src/api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../../src/api/objects.ts';
import { isTerminal } from '../../../src/api/task.ts';
import { identityOf, outputNameOf } from '../../../src/jobs/request.ts';
import { isAlive, type JobView } from '../../../src/jobs/views.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import type { Lab } from '../../support/lab.ts';
import type { Operator } from '../../support/operator.ts';
import { grantsOfOperator } from '../../support/rights.ts';
import { rightOf } from '../../support/verbs.ts';
import { type Expected, RECOVERY_MS } from './expected.ts';
import type { PlayedNode } from './node.ts';
import { foreignLabels, isCrash } from './oracles.ts';
import type { Proxy } from './proxy.ts';
import { publications } from './volume.ts';

/** What of a world is looked at. */
interface Place {
  readonly lab: Lab;
  readonly node: PlayedNode;
  readonly proxy: Proxy;
  readonly operators: readonly Operator[];
}
type Expectations = Readonly<Record<string, Expected>>;

/** What is wrong with what is there once every task has ended as expected: on the volume, in the namespace, in the operators. */
export async function endStateOf(world: Place, expected: Expectations): Promise<string[]> {
  return [
    ...(await onTheVolume(world, expected)),
    ...(await leftOvers(world, expected)),
    ...(await later(() => unexplained(world))),
    ...(await later(() => stuck(world))),
    ...world.operators.flatMap(crashes),
    ...(await Promise.all(world.operators.map((operator) => labelsOf(operator, world)))).flat(),
    ...(await beyondItsRights(world)),
  ];
}

/** What is true soon is good enough; what stays for as long as a recovery may take is a violation. */
async function later(violations: () => Promise<string[]>): Promise<string[]> {
  const none = async () => ((await violations()).length === 0 ? true : undefined);
  await eventually('nothing is wrong', none, RECOVERY_MS).catch(() => undefined);
  return violations();
}

/** I5, O8: one published result for each success, by that very task and as it was verified, and none for any other end. */
async function onTheVolume({ node, lab }: Place, expected: Expectations): Promise<string[]> {
  const published = await publications(node.store);
  const problems: string[] = [];
  for (const [task, how] of Object.entries(expected)) {
    if (how === 'gone') continue;
    const object = await lab.get(task);
    const found = published.get(outputNameOf(object));
    const succeeded = how === 'Succeeded' || how === 'PartiallySucceeded';
    if (succeeded && found?.identity !== identityOf(object))
      problems.push(`O8 ${task} succeeded, but its outputs belong to ${found?.identity ?? 'nobody'}`);
    if (!succeeded && found !== undefined)
      problems.push(`O8 ${task} did not succeed, but something is published`);
    const told = object.status?.result?.manifestSha256;
    if (succeeded && told !== undefined && found?.manifestSha256 !== told)
      problems.push(`I5 what ${task} published was written over: its manifest is another one`);
  }
  return problems;
}

/** I10: nothing runs for a task that has ended, and no Job is left of a task that is gone. */
async function leftOvers({ lab }: Place, expected: Expectations): Promise<string[]> {
  const running = new Set(
    Object.entries(expected).flatMap(([task, how]) => (typeof how === 'object' ? [task] : [])),
  );
  const jobs = await lab.jobs();
  const waiting = new Set(
    jobs.filter(({ taskName }) => running.has(taskName ?? '')).map(({ metadata }) => metadata.uid),
  );
  const pods = async (): Promise<string[]> =>
    (await lab.pods())
      .filter((pod) => isAlive(pod) && !waiting.has(pod.ownerUid ?? ''))
      .map(({ metadata }) => `I10 pod ${metadata.name} outlives its task`);
  const gone = new Set(Object.keys(expected).filter((task) => expected[task] === 'gone'));
  const isOrphan = ({ taskName = '', ownerUid }: JobView): boolean =>
    gone.has(taskName) && ownerUid !== undefined;
  const orphans = async (): Promise<string[]> =>
    (await lab.jobs()).filter(isOrphan).map(({ metadata }) => `I10 Job ${metadata.name} outlives its task`);
  // The garbage collector learns of a new kind only every half minute.
  return later(async () => [...(await pods()), ...(await orphans())]);
}

const taskList = z.object({ items: z.array(z.unknown()) });

/** Tasks that somebody still has to do something about. */
async function openTasks({ lab }: Place): Promise<readonly AnalysisTask[]> {
  const path = `/apis/analysis.elsi.dev/v1alpha1/namespaces/${lab.namespace}/analysistasks`;
  const answer = await controlPlane().api.call('GET', `${path}?fieldSelector=status.settled!=true`);
  return taskList.parse(expectOk(answer)).items.map((item) => analysisTask.parse(item));
}

/** I6: a task has ended or says, of its newest spec, what it waits for. */
async function unexplained(world: Place): Promise<string[]> {
  return (await openTasks(world)).flatMap(({ metadata: { name, generation }, status = {} }) => {
    const { phase, reason, message, observedGeneration } = status;
    if (isTerminal(phase)) return [];
    if (!reason || !message) return [`I6 ${name} has not ended and does not say what it waits for`];
    return observedGeneration === generation
      ? []
      : [`I6 ${name} says ${reason} of generation ${observedGeneration}, but it is at ${generation}`];
  });
}

/** I11: no finalizer of this operator holds what has ended. That of ELSI is judged where there is an ELSI. */
async function stuck(world: Place): Promise<string[]> {
  return (await openTasks(world)).flatMap(({ metadata: { name, finalizers = [] }, status = {} }) =>
    isTerminal(status.phase) && finalizers.includes(FINALIZER.callbacks) && !status.outbox?.length
      ? [`I11 ${name} has ended and owes no event, but ${FINALIZER.callbacks} holds it`]
      : [],
  );
}

/** O6: an operator ends only when it is told to or has lost its lease, and nothing in it is unhandled. */
function crashes(operator: Operator): string[] {
  return operator
    .log()
    .filter(isCrash)
    .map((line) => `O6 ${line.slice(0, 500)}`);
}

/** I17: no label of a metric names a task, a Job or a pod; there are as many series with ten thousand tasks as with one. */
async function labelsOf({ healthUrl }: Operator, { lab }: Place): Promise<string[]> {
  const page = await fetch(`${healthUrl}/metrics`).then(
    (answer) => answer.text(),
    () => '', // it has ended
  );
  const objects = [...(await lab.jobs()), ...(await lab.pods())];
  const names = objects.flatMap(({ metadata, taskUid }) => [
    metadata.name,
    metadata.uid,
    taskUid ?? metadata.uid,
  ]);
  return foreignLabels(page, names);
}

/** I20: what went through the proxy needed no right but those of the chart. */
async function beyondItsRights({ proxy }: Place): Promise<string[]> {
  const granted = await grantsOfOperator();
  const asked = new Set(proxy.log.map(rightOf).filter((right) => right !== undefined));
  return [...asked]
    .filter((right) => !granted.has(right))
    .map((right) => `I20 the operator used "${right}", which the chart does not grant`);
}
