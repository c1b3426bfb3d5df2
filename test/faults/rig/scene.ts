import { z } from 'zod';
import { messageOf } from '../../../src/controller/settle.ts';
import type { PodView } from '../../../src/jobs/views.ts';
import { controlPlane } from '../../support/control-plane.ts';
import type { Lab } from '../../support/lab.ts';
import type { Operator } from '../../support/operator.ts';

/** Lines of each operator's log that are shown. */
const LOG_LINES = 12;

const taskList = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), resourceVersion: z.string() }),
      status: z.looseObject({}).optional(),
    }),
  ),
});

/** What a row that failed left behind, in words: tasks, Jobs, pods and the last that the operators said. */
async function sceneOf(lab: Lab, operators: readonly Operator[]): Promise<string> {
  const path = `/apis/analysis.elsi.dev/v1alpha1/namespaces/${lab.namespace}/analysistasks`;
  const tasks = taskList.parse((await controlPlane().api.call('GET', path)).body).items;
  return [
    ...tasks.map(({ metadata, status = {} }) => {
      const { phase, reason, message, attempt } = status;
      return `task ${metadata.name} (${metadata.resourceVersion}): ${JSON.stringify({ phase, reason, message, attempt })}`;
    }),
    ...(await lab.jobs()).map((job) => `job ${job.metadata.name}: ${JSON.stringify(job.conditions)}`),
    ...(await lab.pods()).map(podLine),
    ...operators.flatMap((operator, index) =>
      operator
        .log()
        .filter((line) => line !== '')
        .slice(-LOG_LINES)
        .map((line) => `operator ${index}: ${line.slice(0, 400)}`),
    ),
  ].join('\n');
}

function podLine({ metadata, phase, node, containers }: PodView): string {
  const states = containers.map(({ name, state }) => `${name} ${Object.keys(state ?? {}).join()}`).join(', ');
  const deleted = metadata.deletionTimestamp ? `, deleted ${metadata.deletionTimestamp}` : '';
  return `pod ${metadata.name}: ${phase} on ${node ?? 'no node'}${deleted} (${states})`;
}

/** The error of a row with the scene below it. */
export async function withScene(error: unknown, lab: Lab, operators: readonly Operator[]): Promise<Error> {
  const scene = await sceneOf(lab, operators).catch((reason: unknown) => `no scene: ${messageOf(reason)}`);
  return new Error(`${messageOf(error)}\n${scene}`, { cause: error });
}
