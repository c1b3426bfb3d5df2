/** What stands in a pod's staging, read whole: tests have few units. */
import { openPlan } from '../plan-file.ts';
import type { PlanHead } from '../plan-file.ts';
import type { Unit } from '../plan.ts';
import { recordsOf } from '../records.ts';
import type { UnitRecord } from '../records.ts';

export async function readPlan(file: string): Promise<(PlanHead & { readonly units: Unit[] }) | undefined> {
  const plan = await openPlan(file);
  return plan === undefined ? undefined : { ...plan.head, units: await all(plan.units()) };
}

/** By unit key; the last record of a unit counts. */
export async function readRecords(file: string): Promise<Map<string, UnitRecord>> {
  const records = await all(recordsOf(file));
  return new Map(records.map((record) => [record.key, record]));
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}
