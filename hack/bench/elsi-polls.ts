/**
 * Many rounds of elsi-sync in one process, without the pauses between them: `node elsi-polls.mjs URL SECRETS TASKS POLLS`.
 * The runs are in memory, as the informer keeps them; prints what the process holds as the last line.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { Registry } from 'prom-client';
import type { AnalysisTask } from '../../src/api/objects.ts';
import { parseTask } from '../../src/api/seen.ts';
import { systemClock } from '../../src/controller/clock.ts';
import { createLog } from '../../src/controller/log.ts';
import { createElsiClient } from '../../src/elsi/client.ts';
import { createHttp } from '../../src/elsi/http.ts';
import { createSyncMetrics } from '../../src/elsi/metrics.ts';
import { createMissingBook } from '../../src/elsi/missing.ts';
import { createRejectionBook } from '../../src/elsi/rejections.ts';
import { syncRound } from '../../src/elsi/round.ts';
import { desiredRun, type RunSettings } from '../../src/elsi/run.ts';
import { createSession } from '../../src/elsi/session.ts';
import { benchTask, MODELS } from './elsi-tasks.ts';

const [baseUrl = '', secrets = '', tasks = '0', polls = '0'] = process.argv.slice(2);
const settings: RunSettings = {
  namespace: 'bench',
  models: MODELS,
  datasetPath: '{uuid}',
  priority: 'Normal',
};

/** No list differs from what the runs say, so nothing is to be done. */
const changed = (): never => {
  throw new Error('a list that has not changed made elsi-sync change something');
};

function runFor(index: number): AnalysisTask {
  const { task_uid: uid, model_name: model, dataset_uid_label: datasetLabel } = benchTask(index);
  const wanted = desiredRun({ uid, model, status: 'PENDING', datasetLabel, user: undefined }, 1, settings);
  if (!wanted.ok) throw new Error(wanted.problem);
  const at = {
    uid,
    resourceVersion: String(index),
    creationTimestamp: '2026-01-01T00:00:00Z',
    generation: 1,
  };
  return parseTask({ ...wanted.object, metadata: { ...wanted.object.metadata, ...at } });
}

interface Memory {
  /** What is still in use after a full collection. */
  readonly heldMiB: number;
  readonly residentMiB: number;
}

function memoryNow(): Memory {
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heldMiB: (heapUsed + external) / 2 ** 20, residentMiB: rss / 2 ** 20 };
}

const http = createHttp({
  baseUrl,
  timeoutMs: 60_000,
  listTimeoutMs: 60_000,
  maxListBytes: 64 * 2 ** 20,
  userAgent: 'bench',
});
const credentials = async () => ({
  clientId: await readFile(join(secrets, 'client_id'), 'utf8'),
  clientSecret: await readFile(join(secrets, 'client_secret'), 'utf8'),
});
const runs = Array.from({ length: Number(tasks) }, (_, index) => runFor(index));
const deps = {
  elsi: createElsiClient(http, createSession(http.exchange, credentials, systemClock)),
  tasks: { create: changed, mergePatch: changed },
  runs: () => runs,
  settings,
  policies: { dropped: 'Ignore', changed: 'Ignore', orphanedRunning: 'Ignore' },
  missing: createMissingBook(),
  rejections: createRejectionBook(),
  mayAct: () => true,
  now: () => new Date(),
  metrics: createSyncMetrics(new Registry()),
  log: createLog({ level: 'warn' }),
} as const;

const { signal } = new AbortController();
const samples: Memory[] = [];
for (let poll = 1; poll <= Number(polls); poll++) {
  // oxlint-disable-next-line no-await-in-loop -- one round after the other, as in the process
  await syncRound(deps, signal);
  if (poll % Math.max(1, Math.round(Number(polls) / 10)) === 0) samples.push(memoryNow());
}
const { user, system } = process.cpuUsage();
await http.close();
console.log(JSON.stringify({ samples, cpuSeconds: (user + system) / 1e6 }));
