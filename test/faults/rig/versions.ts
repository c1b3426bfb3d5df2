import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { ROOT } from '../../../hack/gen/files.ts';
import { applyCrds, controlPlane } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import type { Operator } from '../../support/operator.ts';
import { type Previous, previousSource } from '../../support/previous.ts';
import { looksAgain } from './again.ts';
import type { AgentImage } from './containers.ts';
import { leads } from './measure.ts';
import type { OperatorChoice, World } from './world.ts';

/** An operator that is upgraded and rolled back: its CRDs first on the way there, last on the way back. */
export interface Upgrade {
  /** Where the previous version is. */
  readonly previous: Previous;
  /** The operator that leads. */
  operator(): Operator;
  /** From the previous version to the present one. */
  forward(): Promise<void>;
  /** From the present version to the previous one. */
  back(): Promise<void>;
}

const AGENT = 'example.org/agent:previous';
const OPENAPI = '/openapi/v3/apis/analysis.elsi.dev/v1alpha1';
let changes = 0;

/** The CRDs of a checkout, in force when this resolves. */
async function serveCrdsOf(root: string): Promise<void> {
  changes += 1;
  const mark = `Change ${changes} of its CRDs.`;
  await applyCrds(root, (body) => JSON.parse(marked(JSON.stringify(body), mark)));
  const isServed = async (): Promise<boolean> =>
    kindsIn(JSON.stringify((await controlPlane().api.call('GET', OPENAPI)).body), mark) >= 2;
  await eventually(`the CRDs of ${root} are in force`, async () => (await isServed()) || undefined);
}

const marked = (crd: string, mark: string): string =>
  crd.replace('"openAPIV3Schema":{', `"openAPIV3Schema":{"title":"${mark}",`);
const kindsIn = (text: string, mark: string): number => text.split(mark).length - 1;

/** The cluster has the CRDs of the previous version at the start of a row, and those of this one after it. */
export async function fromPrevious(run: (previous: Previous) => Promise<void>): Promise<void> {
  const previous = await previousSource();
  try {
    await serveCrdsOf(previous.directory);
    await run(previous);
  } finally {
    await serveCrdsOf(ROOT);
  }
}

/** Starts the previous operator in a world; the pods that it makes run the agent of its version. */
export async function startPrevious(
  world: World,
  previous: Previous,
  config: OperatorChoice['config'] = {},
): Promise<Upgrade> {
  world.node.pull(AGENT, await agentOf(previous));
  const start = (choice: OperatorChoice) => world.operator({ lease: 'usual', ...choice });
  const startOld = () =>
    start({ source: previous.directory, config: { ...config, agent: { image: AGENT } } });
  let leader = await startOld();
  await leads(leader);
  const replaceBy = async (next: Operator): Promise<void> => {
    assert.equal(await leader.stop(), 0, 'it ends in good order');
    await leads(next);
    leader = next;
  };
  return {
    previous,
    operator: () => leader,
    async forward() {
      await serveCrdsOf(ROOT);
      await replaceBy(await start({ config }));
    },
    async back() {
      await replaceBy(await startOld());
      await serveCrdsOf(previous.directory);
    },
  };
}

const agentModule = z.object({
  runAgent: z.custom<AgentImage['runAgent']>((value) => typeof value === 'function'),
});
const loopModule = z.object({ MODEL_LOOP: z.string() });

async function agentOf({ directory }: Previous): Promise<AgentImage> {
  const load = (path: string): Promise<unknown> => import(pathToFileURL(join(directory, 'src', path)).href);
  const { runAgent } = agentModule.parse(await load('agent/index.ts'));
  const { MODEL_LOOP } = loopModule.parse(await load('api/loop.ts'));
  return { runAgent, loop: MODEL_LOOP };
}

/** Fails if the operator that leads writes anything about tasks for which there is nothing to do. */
export async function writesNothing(world: World, operator: Operator, passes: number): Promise<void> {
  // What a version has to say about the work of another one it says once.
  await looksAgain(world, operator, passes);
  const before = (await world.history()).operatorWrites;
  await looksAgain(world, operator, passes);
  const after = (await world.history()).operatorWrites;
  assert.deepEqual(after.slice(before.length), [], 'writes in a state that is steady');
}
