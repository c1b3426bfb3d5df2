import assert from 'node:assert/strict';
import { describe } from 'mocha';
import {
  EARLY,
  everything,
  forceLists,
  isRunning,
  leaveBehind,
  OURS,
  refused,
  withSecond,
} from './rig/past.ts';
import { looksAgain } from './rig/again.ts';
import type { Seen } from './rig/rules.ts';
import { isWrite } from './rig/given.ts';
import { row } from './rig/row.ts';
import type { SecondServer } from './rig/second-server.ts';
import type { Expected, World } from './rig/world.ts';

const SUCCEED: Readonly<Record<string, Expected>> = Object.fromEntries(
  EARLY.map((task) => [task, 'Succeeded']),
);

describe('B1 the operator restarts against an API server that stands still in the past', () => {
  const title = 'what completed since runs no second time, and nothing is written over it';
  row('B1', title, () => withSecond('travel', travel));
});

async function travel(world: World, second: SecondServer): Promise<void> {
  const { proxy } = world;
  const leader = await leaveBehind(world, second);
  await Promise.all(EARLY.map((task) => world.ended(task)));
  await leader.stop('SIGKILL');
  const before = { world: await everything(world, EARLY), history: await world.history() };
  proxy.readFrom(second.upstream, ...OURS);
  const traveller = await world.operator({ forced: true });
  await looksAgain(world, traveller, 20);
  assert.deepEqual(await everything(world, EARLY), before.world, 'nothing was touched');
  const history = await world.history();
  assert.equal(history.jobs.length, before.history.jobs.length);
  const tries = refused(history).length - refused(before.history).length;
  // It believes that it has to start one task and to end another, and tries again and again, later and later.
  assert.ok(tries >= 2 && tries <= 60, `${tries} writes were refused`);
  second.thaw();
  await world.submit('later');
  await world.sound({ ...SUCCEED, later: 'Succeeded' });
}

describe('B4 the cache of Jobs shows as running what has completed', () => {
  const title = 'no status goes back and no attempt counts as lost';
  row('B4', title, () => withSecond('regress', regress));
});

async function regress(world: World, second: SecondServer): Promise<void> {
  const { proxy } = world;
  const ending = Promise.withResolvers<void>();
  const leader = await leaveBehind(world, second, { again: { until: ending.promise } });
  await Promise.all(['fresh', 'claimed', 'running'].map((task) => world.ended(task)));
  await world.until('retried', 'runs again', isRunning(2));
  await leader.stop('SIGKILL');
  const before = await everything(world, EARLY);
  proxy.readFrom(second.upstream, 'jobs');
  const stale = await world.operator({ forced: true });
  await looksAgain(world, stale);
  assert.deepEqual(await everything(world, EARLY), before, 'nothing was touched');
  ending.resolve();
  await world.ended('retried');
  second.thaw();
  const history = await world.sound(SUCCEED);
  assert.deepEqual(history.deletions, [], 'Jobs stay as long as their task');
}

describe('B6 lists come from an old cache', () => {
  const title = 'a running operator whose lists go back in time starts nothing again';
  row('B6/old-list', title, () => withSecond('back', backInTime));
});

async function backInTime(world: World, second: SecondServer): Promise<void> {
  const { proxy } = world;
  const operator = await leaveBehind(world, second);
  await Promise.all(EARLY.map((task) => world.ended(task)));
  const before = await everything(world, EARLY);
  proxy.readFrom(second.upstream, ...OURS);
  forceLists(proxy);
  await looksAgain(world, operator, 20);
  assert.deepEqual(await everything(world, EARLY), before, 'nothing was touched');
  proxy.readFrom(undefined);
  forceLists(proxy);
  await world.submit('later');
  await world.sound({
    ...SUCCEED,
    later: 'Succeeded',
  });
}

describe('B8 nothing in memory protects a fresh process from its old copies', () => {
  const title = 'the API server refuses its writes, by version and without versions by the rules of the kind';
  row('B8', title, () => withSecond('guards', guards));
});

async function guards(world: World, second: SecondServer): Promise<void> {
  const { node, lab, proxy } = world;
  const ending = Promise.withResolvers<void>();
  node.script('late', (attempt) => (attempt === 1 ? { model: 'fails' } : { until: ending.promise }));
  node.script('early', () => ({ until: ending.promise }));
  const all = [...EARLY, 'late', 'early'];
  const leader = await leaveBehind(world, second, { unbegun: ['fresh', 'late', 'early'] });
  await Promise.all([
    ...EARLY.map((task) => world.ended(task)),
    world.until('late', 'runs again', isRunning(2)),
    world.until('early', 'runs', isRunning(1)),
  ]);
  await leader.stop('SIGKILL');
  const before = await everything(world, all);
  const known = (await world.history()).operatorWrites.length;
  proxy.readFrom(second.upstream, ...OURS);
  const stale = await world.operator({ forced: true });
  await looksAgain(world, stale, 20);
  /*
   * Three old claims: over a terminal phase, over a later attempt, over the UID of an attempt's Job. Each is refused for
   * its version first; then the proxy gives it the present one, as a broken operator might.
   */
  const claims = ['fresh', 'late', 'early'];
  const seen = async () => (await world.history()).operatorWrites.slice(known);
  for (const task of claims)
    assert.ok((await seen()).includes(`update analysistasks/status ${task}: 409`), task);
  const present = await Promise.all(claims.map((task) => lab.get(task)));
  for (const { metadata } of present) {
    const matches = isWrite(metadata.name, 'status Pending/Starting 1');
    const body = (text: string) =>
      text.replace(/"resourceVersion":"\d+"/, `"resourceVersion":"${metadata.resourceVersion}"`);
    proxy.inject({ matches, fault: { do: 'rewrite', body }, times: Number.POSITIVE_INFINITY });
  }
  // Nor is it to tell the present tasks of that, which no operator with old versions could.
  const tells = ({ body }: Seen) => body.includes('"reason":"InvalidObject"');
  proxy.inject({ matches: tells, fault: { do: 'drop-request' }, times: Number.POSITIVE_INFINITY });
  await looksAgain(world, stale, 20);
  for (const task of claims)
    assert.ok((await seen()).includes(`update analysistasks/status ${task}: 422`), task);
  assert.deepEqual(await everything(world, all), before, 'nothing was touched');
  await stale.stop('SIGKILL');
  ending.resolve();
  await world.operator({ forced: true, proxy: await world.anotherProxy() });
  await world.sound({ ...SUCCEED, late: 'Succeeded', early: 'Succeeded' });
}
