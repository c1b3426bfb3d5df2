/** What earlier pods of the same task left behind: finished units to copy, and units that ended their container. */
import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { inBatches, mapBounded } from '../lib/concurrent.ts';
import { isMissing } from './failure.ts';
import { inspectOutput } from './inspect.ts';
import type { OutputRule } from './inspect.ts';
import { insidePod, statUntrusted } from './paths.ts';
import type { StagingPaths } from './paths.ts';
import type { Unit } from './plan.ts';
import { appendRecords, OutputBook, recordsOf } from './records.ts';
import type { OutputRecord, UnitRecord } from './records.ts';

/** Starts without an end after which a unit is no longer tried. */
export const KILLS_ALLOWED = 2;
const COPIES_AT_ONCE = 4;
/** Units copied between two appends to the records. */
const COPIED_AT_ONCE = 256;

type Pod = ReturnType<typeof insidePod>;

/** Staging directories of the other pods of the task. */
export async function earlierPods(staging: StagingPaths): Promise<Pod[]> {
  const entries = await readdir(staging.task, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => insidePod(join(staging.task, entry.name)))
    .filter((pod) => pod.pod !== staging.pod);
}

/** Ids of units that ended their process by being killed, or never ended, in at least KILLS_ALLOWED earlier pods. */
export async function killedUnits(pods: readonly Pod[]): Promise<Set<string>> {
  const kills = new Map<string, number>();
  for (const pod of pods) {
    // oxlint-disable-next-line no-await-in-loop -- few pods, each a large directory
    for (const id of await unfinished(pod.control)) kills.set(id, (kills.get(id) ?? 0) + 1);
  }
  return new Set([...kills].filter(([, count]) => count >= KILLS_ALLOWED).map(([id]) => id));
}

async function unfinished(control: string): Promise<string[]> {
  const names = await readdir(control).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const ended = new Set(names.filter((name) => name.endsWith('.exit')).map((name) => name.slice(0, -5)));
  const open = names.filter((name) => name.endsWith('.start')).map((name) => name.slice(0, -6));
  const started = open.filter((id) => !ended.has(id));
  // An orderly stop empties the marker: being asked to leave is no fault of the unit.
  const sizes = await mapBounded(
    started,
    COPIES_AT_ONCE,
    async (id) => (await stat(join(control, `${id}.start`))).size,
  );
  const killed = names.filter((name) => name.endsWith('.killed')).map((name) => name.slice(0, -7));
  return [...started.filter((_, index) => (sizes[index] ?? 0) > 0), ...killed];
}

export interface ReuseInto {
  readonly out: string;
  readonly records: string;
  readonly rules: readonly OutputRule[];
  readonly isOpen: (unit: Unit) => boolean;
}

/** Copies what can be reused into this pod's staging and records it there; returns the keys of those units. */
export async function reuseUnits(
  pods: readonly Pod[],
  units: () => Iterable<Unit>,
  into: ReuseInto,
): Promise<Set<string>> {
  const reused = new Set<string>();
  for (const pod of pods) {
    // oxlint-disable-next-line no-await-in-loop -- few pods, one after the other
    await reuseFrom(pod, units(), { ...into, reused });
  }
  return reused;
}

async function reuseFrom(
  pod: Pod,
  units: Iterable<Unit>,
  into: ReuseInto & { readonly reused: Set<string> },
): Promise<void> {
  const keys = new Set<string>();
  const recorded = new OutputBook();
  for await (const { key, outputs } of recordsOf(pod.records)) {
    keys.add(key);
    for (const output of outputs) recorded.add(output);
  }
  if (keys.size === 0) return;
  const isWanted = (unit: Unit): boolean =>
    keys.has(unit.key) && !into.reused.has(unit.key) && into.isOpen(unit);
  for await (const batch of inBatches(filter(units, isWanted), COPIED_AT_ONCE)) {
    const copies = await mapBounded(batch, COPIES_AT_ONCE, (unit) =>
      copyUnit(pod.out, unit, { out: into.out, rules: into.rules, recorded }),
    );
    const records = copies.filter((copy) => copy !== undefined);
    await appendRecords(into.records, records);
    for (const { key } of records) into.reused.add(key);
  }
}

function* filter<Item>(items: Iterable<Item>, isWanted: (item: Item) => boolean): Generator<Item> {
  for (const item of items) if (isWanted(item)) yield item;
}

interface CopyInto {
  readonly out: string;
  readonly rules: readonly OutputRule[];
  readonly recorded: OutputBook;
}

/** Copies, never links: a pod that still writes to the old file must not reach the new one. */
async function copyUnit(from: string, unit: Unit, into: CopyInto): Promise<UnitRecord | undefined> {
  const outputs: OutputRecord[] = [];
  for (const { path, spec } of unit.outputs) {
    // oxlint-disable-next-line no-await-in-loop -- a unit has few outputs
    const copy = await copyOutput(from, path, { out: into.out, rule: into.rules[spec] });
    if (copy === undefined || copy.sha256 !== into.recorded.get(path)?.sha256) {
      // oxlint-disable-next-line no-await-in-loop -- ends the loop
      await Promise.all(unit.outputs.map((output) => rm(join(into.out, output.path), { force: true })));
      return undefined;
    }
    outputs.push(copy);
  }
  return { id: unit.id, key: unit.key, outputs };
}

async function copyOutput(
  from: string,
  path: string,
  into: { readonly out: string; readonly rule: OutputRule | undefined },
): Promise<OutputRecord | undefined> {
  const source = await statUntrusted({ root: from }, path);
  if (source === undefined || !source.isFile() || into.rule === undefined) return undefined;
  const target = join(into.out, path);
  await mkdir(dirname(target), { recursive: true });
  await copyFile(join(from, path), target, constants.COPYFILE_FICLONE);
  const inspection = await inspectOutput({ root: into.out }, path, into.rule);
  return 'record' in inspection ? inspection.record : undefined;
}
