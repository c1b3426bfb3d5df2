import assert from 'node:assert/strict';
import { lstat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { recheckOutputs } from '../../../src/agent/recheck.ts';
import type { AnalysisTask } from '../../../src/api/objects.ts';
import type { TaskStatus } from '../../../src/api/task.ts';
import { identityOf } from '../../../src/jobs/request.ts';
import { type Namespace, TASKS } from './site.ts';
import { ended, get, onStore, read, tree } from './work.ts';

/* What must be true on the volume once a task has ended, whatever anybody says. */

const paths = z.object({ count: z.int(), paths: z.array(z.string()) });
const manifest = z.looseObject({
  identity: z.string(),
  attempt: z.int(),
  pod: z.object({ uid: z.string() }),
  summary: z.looseObject({ files: z.int(), bytes: z.int() }),
  changedInputs: paths,
  extra: paths,
  removed: paths,
  units: z.array(
    z.looseObject({
      name: z.string(),
      exitCode: z.int().optional(),
      category: z.string().optional(),
      reason: z.string().optional(),
    }),
  ),
  outputs: z.array(z.object({ path: z.string(), size: z.int() })),
});
export type Manifest = z.infer<typeof manifest>;

/** A task that is over, and whose volume agrees with it. */
export interface Settled {
  readonly task: AnalysisTask;
  readonly status: TaskStatus;
  /** Of the published result, if there is one. */
  readonly manifest: Manifest | undefined;
}

/**
 * Waits for the end of a task and compares it with the volume: a success has published exactly one result, complete by
 * the operator's own check, and has left no staging (unless publish was killed over its removal); any other end has
 * published nothing.
 */
export async function settled(
  name: string,
  namespace: Namespace = TASKS,
  { untidy = false }: { readonly untidy?: boolean } = {},
): Promise<Settled> {
  const status = await ended(name, namespace);
  const task = await get(name, namespace);
  assert.ok(task);
  const published = status.phase === 'Succeeded' || status.phase === 'PartiallySucceeded';
  const found = published ? await complete(task, status, namespace) : await absent(task, namespace);
  if (published && !untidy)
    assert.equal((await staging(task, namespace)).length, 0, 'nothing is left in staging');
  return { task, status, manifest: found };
}

const outputsOf = ({ metadata, spec }: AnalysisTask): string =>
  join(spec.dataset.path, 'outputs', spec.outputName ?? metadata.name);

async function complete(task: AnalysisTask, { result }: TaskStatus, namespace: Namespace): Promise<Manifest> {
  const path = outputsOf(task);
  assert.equal(result?.path, path);
  const drift: unknown[] = [];
  const sha = result.manifestSha256 === undefined ? {} : { manifestSha256: result.manifestSha256 };
  const directory = onStore(path, namespace);
  const checked = await recheckOutputs(directory, { concurrency: 2, onDrift: (d) => drift.push(d), ...sha });
  assert.deepEqual(drift, [], 'the published files are what the manifest says');
  assert.equal(checked.head.identity, identityOf(task));
  return manifest.parse(JSON.parse(await read(join(path, 'manifest.json'), namespace)));
}

async function absent(task: AnalysisTask, namespace: Namespace): Promise<undefined> {
  const place = onStore(outputsOf(task), namespace);
  const found = await lstat(place).catch(() => undefined);
  if (!found) return;
  // Somebody else's, then: ours would carry our identity.
  const text = await read(join(outputsOf(task), 'manifest.json'), namespace).catch(() => '');
  assert.ok(!text.includes(task.metadata.uid), `${dirname(place)} holds a result of a task without one`);
}

/** What the task has left in staging: files, relative to its own directory there. */
export function staging({ metadata, spec }: AnalysisTask, namespace: Namespace = TASKS): Promise<string[]> {
  return tree(join(spec.dataset.path, 'outputs/.staging', metadata.uid), namespace);
}

/** The end of a task in two words, such as "Failed/ModelError". */
export const endOf = ({ phase, reason }: TaskStatus): string => `${phase ?? ''}/${reason ?? ''}`;
