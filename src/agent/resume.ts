/** What earlier pods left behind: finished units to copy, and units that ended their container. */
import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { inBatches, mapBounded } from '../lib/concurrent.ts';
import { errorCode, isMissing, shown } from './failure.ts';
import { podsOf } from './finished.ts';
import type { Finished, Pod, Source } from './finished.ts';
import { inspectOutput } from './inspect.ts';
import type { OutputRule } from './inspect.ts';
import { openUntrusted } from './paths.ts';
import type { StagingPaths } from './paths.ts';
import type { Unit } from './plan.ts';
import { appendRecords } from './records.ts';
import type { OutputRecord, UnitRecord } from './records.ts';

/** Starts without an end after which a unit is no longer tried. */
export const KILLS_ALLOWED = 2;
const COPIES_AT_ONCE = 4;
/** Units copied between two appends to the records. */
const COPIED_AT_ONCE = 256;

/** Staging directories of the other pods of the task. */
export async function earlierPods(staging: StagingPaths): Promise<Pod[]> {
  return (await podsOf(staging.task)).filter((pod) => pod.pod !== staging.pod);
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

/** What became of units that are finished somewhere, by key. One that is spoilt here may be reused from there. */
export interface Reuse {
  /** Copied; with the UID of the task from which, when that is not this one. */
  readonly reused: Map<string, string | undefined>;
  /** Units of another task that are no longer what it left, each with the reason. */
  readonly spoilt: Map<string, string>;
}

/** Copies what can be reused into this pod's staging and records it there. */
export async function reuseUnits(
  sources: readonly Source[],
  units: () => Iterable<Unit>,
  into: ReuseInto,
): Promise<Reuse> {
  const reuse: Reuse = { reused: new Map(), spoilt: new Map() };
  for (const source of sources) {
    // oxlint-disable-next-line no-await-in-loop -- few sources, one after the other
    await reuseFrom(source, units(), { ...into, ...reuse });
  }
  return reuse;
}

async function reuseFrom(source: Source, units: Iterable<Unit>, into: ReuseInto & Reuse): Promise<void> {
  const finished = await source.finished();
  if (finished.units.size === 0) return;
  const isWanted = (unit: Unit): boolean =>
    finished.units.has(unit.key) && !into.reused.has(unit.key) && into.isOpen(unit);
  for await (const batch of inBatches(filter(units, isWanted), COPIED_AT_ONCE)) {
    const copies = await mapBounded(batch, COPIES_AT_ONCE, async (unit) => ({
      unit,
      copy: await copyUnit(source.out, unit, { ...into, finished }),
    }));
    const records = copies.flatMap(({ copy }) => (typeof copy === 'string' ? [] : [copy]));
    await appendRecords(into.records, records);
    for (const { unit, copy } of copies) note(into, { source, unit, copy });
  }
}

function note(
  { reused, spoilt }: Reuse,
  { source, unit: { key }, copy }: { readonly source: Source; readonly unit: Unit; readonly copy: Copy },
): void {
  if (typeof copy !== 'string') {
    reused.set(key, copy.from);
  } else if (source.other) spoilt.set(key, `${copy} in ${source.other.place}`);
}

function* filter<Item>(items: Iterable<Item>, isWanted: (item: Item) => boolean): Generator<Item> {
  for (const item of items) if (isWanted(item)) yield item;
}

interface CopyInto {
  readonly out: string;
  readonly rules: readonly OutputRule[];
  readonly finished: Finished;
}

/** A copied unit, or what is wrong with the source. */
type Copy = UnitRecord | string;

/** Copies, never links: whoever still writes to the old file must not reach the new one. */
async function copyUnit(root: string, unit: Unit, { out, rules, finished }: CopyInto): Promise<Copy> {
  const outputs: OutputRecord[] = [];
  for (const { path, spec } of unit.outputs) {
    const rule = rules[spec];
    const wanted = finished.outputs.get(path);
    // oxlint-disable-next-line no-await-in-loop -- a unit has few outputs
    const copy = rule && wanted && (await copyOutput(root, { out, rule, wanted }));
    if (copy === undefined) {
      // oxlint-disable-next-line no-await-in-loop -- ends the loop
      await Promise.all(unit.outputs.map((output) => rm(join(out, output.path), { force: true })));
      return `${shown(path)} is no longer what it was`;
    }
    outputs.push(copy);
  }
  const from = finished.units.get(unit.key);
  return { id: unit.id, key: unit.key, outputs, ...(from === undefined ? {} : { from }) };
}

interface CopyOf {
  readonly out: string;
  readonly rule: OutputRule;
  readonly wanted: OutputRecord;
}

/** Undefined when the source is not what was recorded. */
async function copyOutput(root: string, { out, rule, wanted }: CopyOf): Promise<OutputRecord | undefined> {
  const { path, size, sha256 } = wanted;
  if (!(await isThere(root, path, size))) return undefined;
  const target = join(out, path);
  await mkdir(dirname(target), { recursive: true });
  try {
    await copyFile(join(root, path), target, constants.COPYFILE_FICLONE);
  } catch (error) {
    if (isMissing(error)) return undefined; // swept or removed this moment
    throw error;
  }
  const inspection = await inspectOutput({ root: out }, path, rule);
  return 'record' in inspection && inspection.record.sha256 === sha256 ? inspection.record : undefined;
}

/** Whether a regular file of that size can be read there, without following a link: others are not worth a copy. */
async function isThere(root: string, path: string, size: number): Promise<boolean> {
  const file = await openUntrusted({ root }, path).catch((error: unknown) => {
    if (errorCode(error) === 'EACCES') return 'missing' as const;
    throw error;
  });
  if (file === 'missing' || file === 'notRegular') return false;
  await file.handle.close();
  return file.stats.size === size;
}
