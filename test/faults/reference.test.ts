import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe } from 'mocha';
import { row } from './rig/row.ts';
import { kindOfWrite, REFERENCE, runReference } from './rig/workload.ts';
import { inWorld, type World } from './rig/world.ts';

const GOLDEN = join(import.meta.dirname, 'rig', 'reference-writes.json');

async function record(world: World): Promise<void> {
  await world.operator();
  await runReference(world);
  await world.sound(REFERENCE);
  const kinds = new Set(world.proxy.log.map(kindOfWrite));
  const list = [...kinds].filter((kind) => kind !== undefined).toSorted((a, b) => a.localeCompare(b));
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(GOLDEN, `${JSON.stringify(list, null, 2)}\n`);
  const golden: unknown = JSON.parse(readFileSync(GOLDEN, 'utf8'));
  assert.deepEqual(list, golden, 'run again with UPDATE_GOLDEN=1 if the protocol changed on purpose');
}

describe('the reference workload, undisturbed', () => {
  const title = 'its distinct writes are the ones that the crash plans are made of';
  row('O2', title, () => inWorld('reference', record), { smoke: true });
});
