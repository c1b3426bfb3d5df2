import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { constants, mkdir, open, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../../hack/cluster/exec.ts';
import { STAGING } from '../../../src/api/request.ts';
import { wav } from '../../../src/agent/testing/fixtures.ts';
import { eventually } from '../../support/eventually.ts';
import { hasOpen, PROCESS, processesOf, stateOf } from './processes.ts';
import { openGate, podOf, wholeModel } from './scripts.ts';
import { OWNER, site, TASKS } from './site.ts';
import { dataset, get, onStore, task, until } from './work.ts';

/* Tasks whose publish step is held at a chosen moment, to see what becomes of them then. */

/** A publish step that is stopped (SIGSTOP). */
export interface Held {
  readonly name: string;
  readonly pid: number;
  /** Name of the pod. */
  readonly pod: string;
}

const HOLD_MS = 60_000;
const RECORDS = STAGING.records;

/** Stops publish near its start: the model has ended well, and nothing is published. */
export async function heldBeforeRename(name: string, more: Parameters<typeof wholeModel>[2]): Promise<Held> {
  await dataset(name, { 'a.wav': wav() });
  const model = await wholeModel(name, 'gate go; good "$2/raw/a.rttm"', more);
  await task(name, { model, dataset: { path: name } });
  const { metadata: pod } = await podOf(name);
  await until(name, 'Running', ({ phase }) => phase === 'Running');
  const uid = (await get(name))?.metadata.uid ?? '';
  const records = onStore(join(name, 'outputs/.staging', uid, pod.uid, RECORDS));
  const release = await plug(records);
  await openGate(name, 'go');
  // Not before it reads the volume: while Node starts, no handler is there yet, and a SIGTERM would be lost.
  const find = (): number | undefined =>
    processesOf(pod.uid, PROCESS.publish).find((one) => hasOpen(one, RECORDS));
  const pid = await eventually(`publish of ${name} reads its records`, find, HOLD_MS);
  process.kill(pid, 'SIGSTOP');
  await stopped(pid);
  await release();
  return { name, pid, pod: pod.name };
}

const stopped = (pid: number): Promise<true> =>
  eventually(`process ${pid} is stopped`, () => (stateOf(pid) === 'T' ? true : undefined));

/** Makes a file of the volume one that nobody can read to its end, as on a volume that hangs, until it is released. */
async function plug(file: string): Promise<() => Promise<void>> {
  await run('mkfifo', ['--mode', '0666', file]);
  // Open for both, so that neither side waits for the other.
  const pipe = await open(file, constants.O_RDWR);
  return async () => {
    // Who opens it from now on finds it empty; who waits in it meets its end.
    await writeFile(`${file}.empty`, '');
    await rename(`${file}.empty`, file);
    await pipe.close();
  };
}

/** In a process of its own, because this one may be busy with other scenarios in that moment. */
const STOP_ONCE_WRITTEN =
  'until [ -s "/proc/$1/root/dev/termination-log" ]; do [ -e "/proc/$1" ] || exit 1; done; kill -STOP "$1"';

/** What publish has to remove between its report and its end, so that there is time to stop it. */
const LEFTOVERS = 30_000;

/** Stops publish when its result stands and its report is written, before its end. */
export async function heldAfterReport(name: string, more: Parameters<typeof wholeModel>[2]): Promise<Held> {
  const held = await heldBeforeRename(name, more);
  const uid = (await get(name))?.metadata.uid ?? '';
  const place = onStore(join(name, 'outputs/.staging', uid, 'an-earlier-pod'));
  await mkdir(place);
  await run('sh', ['-c', 'cd "$1" && seq "$2" | xargs touch', 'sh', place, String(LEFTOVERS)]);
  await run('chown', ['-R', `${OWNER.uid}:${OWNER.gid}`, place]); // else publish may not remove them, and is done at once
  const stop = `kill -CONT "$1"; ${STOP_ONCE_WRITTEN}`;
  await run('timeout', [String(HOLD_MS / 1000), 'sh', '-c', stop, 'sh', String(held.pid)]);
  await stopped(held.pid);
  assert.ok(existsSync(onStore(`${name}/outputs/${name}/manifest.json`)));
  return held;
}

/** Lets the run deadline of a pod pass now; the tests cannot wait for the real one. */
export async function passDeadline(pod: string): Promise<void> {
  await site().kube.run(['patch', 'pod', pod, '-n', TASKS, '-p', '{"spec":{"activeDeadlineSeconds":1}}']);
}
