import { controlPlane, expectOk } from '../../support/control-plane.ts';
import type { Operator } from '../../support/operator.ts';
import type { World } from './world.ts';

/** I19: where a secret can be read that must stay in its file and on the wire: logs, metrics and every object of the namespace. */
export async function leaksOf(
  { lab }: World,
  programs: readonly Operator[],
  secret: string,
): Promise<string[]> {
  const tasks = `/apis/analysis.elsi.dev/v1alpha1/namespaces/${lab.namespace}/analysistasks`;
  const jobs = `/apis/batch/v1/namespaces/${lab.namespace}/jobs`;
  const objects = await Promise.all(
    [tasks, jobs, lab.path('pods'), lab.path('events')].map(async (path) => ({
      place: path,
      text: JSON.stringify(expectOk(await controlPlane().api.call('GET', path))),
    })),
  );
  const pages = await Promise.all(programs.map(pageOf));
  const logs = programs.map((program) => ({ place: 'a log', text: program.log().join('\n') }));
  return [...objects, ...pages, ...logs]
    .filter(({ text }) => text.includes(secret))
    .map(({ place }) => `I19 the secret can be read in ${place}`);
}

async function pageOf({ healthUrl }: Operator): Promise<{ readonly place: string; readonly text: string }> {
  const text = await fetch(`${healthUrl}/metrics`).then(
    (answer) => answer.text(),
    () => '', // it has ended
  );
  return { place: 'the metrics', text };
}
