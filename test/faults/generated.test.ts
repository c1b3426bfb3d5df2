import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import { describe } from 'mocha';
import { z } from 'zod';
import { KINDS, sections } from '../../hack/gen/crd.ts';
import { API_VERSION } from '../../src/api/keys.ts';
import { analysisTask, type AnalysisTask } from '../../src/api/objects.ts';
import { mapBounded } from '../../src/lib/concurrent.ts';
import { type Answer, failureOf } from '../support/api.ts';
import { controlPlane, deleteAtEnd, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { objectsLike } from '../support/generate.ts';
import { withValue } from '../support/mutate.ts';
import { readSample, type Sample } from '../support/samples.ts';
import { row } from './rig/row.ts';
import { inWorld, type World } from './rig/world.ts';

const API = `/apis/${API_VERSION}`;
/** `make test` tries the same objects each time, `make faults` new ones. */
const SEED_OF_FEW = 20_261_126;
/** Printed, so that a run can be repeated. */
const SEED = Number(process.env['GENERATED_SEED'] ?? Date.now() % 2 ** 31);
const AT_ONCE = 32;
const STATUS_MS = 120_000;
/** A task is looked at when it comes, when it was written, and when its model comes; more often than this is a loop. */
const PASSES_PER_TASK = 20;
/** As often as a task may be looked at although nothing happens, in passes of all tasks per second. */
const IDLE_PASSES_PER_SECOND = 5;
const IDLE_SECONDS = 10;

interface Crowd {
  readonly models: number;
  readonly tasks: number;
  readonly seed: number;
}

function generated(
  kind: 'AnalysisTask' | 'AnalysisModel',
  prefix: string,
  how: { readonly numRuns: number; readonly seed: number },
): Sample[] {
  const source = KINDS.find((each) => each.kind === kind) ?? assert.fail();
  const objects = objectsLike(readSample(kind.toLowerCase()), sections(source).spec);
  return fc
    .sample(objects, how)
    .map((object, index) => withValue(object, ['metadata', 'name'], `${prefix}-${index}`));
}

/** As kubectl sends it: what the schema does not know is refused, not dropped. */
const post = (path: string, body: Sample): Promise<Answer> =>
  controlPlane().api.call('POST', `${path}?fieldValidation=Strict`, { body });

/** Sends all of them; returns the names of those that the server took. */
async function send(path: string, objects: readonly Sample[]): Promise<string[]> {
  const names = await mapBounded(objects, AT_ONCE, async (object) => {
    const answer = await post(path, object);
    if (answer.status === 201) return [object.metadata.name];
    assert.deepEqual(unexplained(answer), [], JSON.stringify(object.spec).slice(0, 500));
    return [];
  });
  return names.flat();
}

/** What a refusal does not say: it must be the sender's fault, and name the field. */
function unexplained(answer: Answer): string[] {
  if (![400, 422].includes(answer.status)) return [`answered ${answer.status}`];
  const { message, details } = failureOf(answer);
  const fields = (details?.causes ?? []).map(({ field = '', message: why = '' }) => `${field} ${why}`);
  const named = [...fields, message].some((text) => /\b(spec|metadata)\b|unknown field/.test(text));
  return named ? [] : [`names no field: ${message}`];
}

const taskList = z.object({ items: z.array(z.unknown()) });

async function tasksOf({ lab }: World): Promise<AnalysisTask[]> {
  const path = `${API}/namespaces/${lab.namespace}/analysistasks`;
  const { items } = taskList.parse(expectOk(await controlPlane().api.call('GET', path)));
  return items.map((item) => analysisTask.parse(item));
}

async function takesWhatComes(
  world: World,
  { models: manyModels, tasks: manyTasks, seed }: Crowd,
): Promise<void> {
  const operator = await world.operator({ lease: 'usual' });
  const models = await send(
    `${API}/analysismodels`,
    generated('AnalysisModel', `gen-${world.lab.namespace}`, { numRuns: manyModels, seed }),
  );
  for (const name of models) deleteAtEnd(`${API}/analysismodels/${name}`);
  const tasks = generated('AnalysisTask', 'gen', { numRuns: manyTasks, seed }).map((task, index) =>
    // One in ten names a model that is there; what comes of it is a Job.
    index % 10 === 0 ? withValue(task, ['spec', 'model'], models[index % models.length]) : task,
  );
  const taken = await send(`${API}/namespaces/${world.lab.namespace}/analysistasks`, tasks);
  assert.ok(models.length > manyModels / 20 && taken.length > manyTasks / 10, 'too few are good');
  assert.ok(taken.length < manyTasks * 0.95, 'too few are bad');
  await eventually(
    'every task says where it is and why',
    async () => {
      const silent = (await tasksOf(world)).filter(({ status }) => !status?.phase || !status.message);
      return silent.length === 0 ? true : undefined;
    },
    STATUS_MS,
  );
  await staysQuiet(operator, taken.length);
  await world.submit('as-ever');
  await world.sound({ 'as-ever': 'Succeeded' });
}

async function staysQuiet(operator: Awaited<ReturnType<World['operator']>>, tasks: number): Promise<void> {
  const before = await operator.passes();
  assert.ok(before < tasks * PASSES_PER_TASK, `${before} passes for ${tasks} tasks`);
  await pause(IDLE_SECONDS * 1000);
  const idle = ((await operator.passes()) - before) / IDLE_SECONDS;
  assert.ok(idle < IDLE_PASSES_PER_SECOND + tasks / 20, `${idle} passes a second with nothing to do`);
}

describe('S1 objects that nobody would write by hand', () => {
  const title = 'are refused with their field or told where they are; no crash, no hot loop';
  // Together 10 000 tasks and 1 000 models; in parts, because a row has its time.
  for (let part = 1; part <= 4; part++)
    row(`S1/${part}`, `2 500 tasks and 250 models ${title}`, () =>
      inWorld('generated', (world) => takesWhatComes(world, { models: 250, tasks: 2500, seed: SEED + part })),
    );
  row(
    'S1/few',
    `600 tasks and 100 models ${title}`,
    () =>
      inWorld('generated', (world) => takesWhatComes(world, { models: 100, tasks: 600, seed: SEED_OF_FEW })),
    { smoke: true },
  );
});
