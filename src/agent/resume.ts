/** What earlier pods of the same task left behind: finished units to copy, and units that ended their container. */
import { constants } from 'node:fs';
import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mapBounded } from './concurrent.ts';
import { isMissing } from './failure.ts';
import { inspectOutput } from './inspect.ts';
import type { OutputRule } from './inspect.ts';
import { insidePod, statUntrusted } from './paths.ts';
import type { StagingPaths } from './paths.ts';
import type { Unit } from './plan.ts';
import { readRecords } from './records.ts';
import type { OutputRecord, UnitRecord } from './records.ts';

/** Starts without an end after which a unit is no longer tried. */
export const KILLS_ALLOWED = 2;
const COPIES_AT_ONCE = 4;

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

/** Copies what can be reused into this pod's staging; returns the records of the copies by unit key. */
export async function reuseUnits(
  pods: readonly Pod[],
  units: readonly Unit[],
  into: { readonly out: string; readonly rules: readonly OutputRule[] },
): Promise<Map<string, UnitRecord>> {
  const reused = new Map<string, UnitRecord>();
  for (const pod of pods) {
    // oxlint-disable-next-line no-await-in-loop -- few pods
    const records = await readRecords(pod.records);
    const wanted = units.filter((unit) => !reused.has(unit.key) && isWhole(unit, records.get(unit.key)));
    // oxlint-disable-next-line no-await-in-loop -- as above
    const copies = await mapBounded(wanted, COPIES_AT_ONCE, (unit) =>
      copyUnit(pod.out, unit, { ...into, records }),
    );
    for (const copy of copies) if (copy !== undefined) reused.set(copy.key, copy);
  }
  return reused;
}

function isWhole(unit: Unit, record: UnitRecord | undefined): boolean {
  if (record === undefined || record.outputs.length !== unit.outputs.length) return false;
  const recorded = new Set(record.outputs.map(({ path }) => path));
  return unit.outputs.every(({ path }) => recorded.has(path));
}

interface CopyInto {
  readonly out: string;
  readonly rules: readonly OutputRule[];
  readonly records: ReadonlyMap<string, UnitRecord>;
}

/** Copies, never links: a pod that still writes to the old file must not reach the new one. */
async function copyUnit(from: string, unit: Unit, into: CopyInto): Promise<UnitRecord | undefined> {
  const hashes = new Map(into.records.get(unit.key)?.outputs.map(({ path, sha256 }) => [path, sha256]));
  const outputs: OutputRecord[] = [];
  for (const { path, spec } of unit.outputs) {
    // oxlint-disable-next-line no-await-in-loop -- a unit has few outputs
    const copy = await copyOutput(from, path, { out: into.out, rule: into.rules[spec] });
    if (copy === undefined || copy.sha256 !== hashes.get(path)) {
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
