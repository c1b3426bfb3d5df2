import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { z } from 'zod';
import { type AgentOptions, runAgent } from '../../src/agent/index.ts';
import {
  aRequest,
  aStore,
  RECORDINGS,
  RTTM_LINE,
  type TestPod,
  type TestStore,
} from '../../src/agent/testing/fixtures.ts';
import { readPlan } from '../../src/agent/testing/staged.ts';
import { API_VERSION, OBSERVE_PORT } from '../../src/api/keys.ts';
import { analysisTask } from '../../src/api/objects.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { modelRuns } from '../support/kubelet.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';

const TASKS = 50;
const UNITS = 40;
/** Pods that never answer, as on a node that is cut off: they must not hold up the others. */
const SILENT = 20;
/** The promise. */
const BEHIND_MS = 15_000;
const RUN_MS = 24_000;
/** Each task ends a unit about so often: mostly too small a step to be worth a write by itself. */
const UNIT_MS = 3000;

/** A task, its pod's staging on a real disk, and the real observe that serves it on an address of its own. */
interface Working {
  readonly name: string;
  readonly pod: TestPod;
  /** Marker and output of each unit, in the order of the plan. */
  readonly units: readonly { readonly id: string; readonly output: string }[];
  /** When each of the ended units was complete on the disk. */
  readonly endedAt: number[];
  /** What the status showed, in turn. */
  readonly shown: number[];
}

describe('the progress of 50 running tasks', () => {
  let lab: Lab;
  let operator: Operator;
  let store: TestStore;
  const stop = new AbortController();
  const observers: Promise<unknown>[] = [];
  const hanging: Server[] = [];

  before(async () => {
    lab = await openLab('progress');
    store = await aStore();
    for (let index = 0; index < UNITS; index++)
      await store.put(`${RECORDINGS}/${String(index).padStart(2, '0')}.wav`);
    operator = await startOperator({
      kubeconfig: controlPlane().kubeconfig,
      namespace: lab.namespace,
      // A machine that is busy with 50 tasks must not cost the lease, which this is not about.
      config: { progress: { enabled: true }, leaderElection: { enabled: false } },
    });
  });
  after(async () => {
    await operator.stop();
    stop.abort();
    await Promise.all(observers);
    for (const server of hanging) {
      server.closeAllConnections();
      server.close();
    }
    await store.remove();
  });

  const begin = async (name: string, address: string, isSilent: boolean): Promise<Working> => {
    const { uid } = (await lab.get(name)).metadata;
    const real = await lab.pod(name);
    const pod = store.pod(aRequest({ uid, outputName: name }), real.metadata.uid);
    await pod.step('prepare');
    const plan = await readPlan(join(pod.staging, 'plan.json'));
    const units = (plan?.units ?? []).map(({ id, outputs }) => ({ id, output: outputs[0]?.path ?? '' }));
    await (isSilent ? silent(address) : observed(pod, address));
    await lab.setPod(real, modelRuns({ podIP: address, podIPs: [{ ip: address }] }));
    return { name, pod, units, endedAt: [], shown: [] };
  };

  const silent = async (host: string): Promise<void> => {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(OBSERVE_PORT, host, resolve));
    hanging.push(server);
  };

  /** As in a pod: it looks at the disk once a second. */
  async function observed(pod: TestPod, host: string): Promise<void> {
    const { promise: listening, resolve } = Promise.withResolvers<number>();
    const changes: Partial<AgentOptions> = {
      signal: stop.signal,
      listen: { host, port: OBSERVE_PORT },
      onListening: resolve,
      scanIntervalMs: 1000,
    };
    observers.push(runAgent('observe', pod.options(changes)));
    await listening;
  }

  /** What the loop leaves on the disk when a unit ends well. */
  const endUnit = async ({ pod, units, endedAt }: Working): Promise<void> => {
    const unit = units[endedAt.length];
    if (!unit) return;
    await writeFile(join(pod.staging, 'out', unit.output), `${RTTM_LINE}\n`);
    await writeFile(join(pod.staging, 'ctl', `${unit.id}.exit`), '0\n');
    endedAt.push(performance.now());
  };

  const tasks = z.object({ items: z.array(analysisTask) });
  const look = async (working: readonly Working[]): Promise<void> => {
    const path = `/apis/${API_VERSION}/namespaces/${lab.namespace}/analysistasks`;
    const askedAt = performance.now();
    const { items } = tasks.parse(expectOk(await controlPlane().api.call('GET', path)));
    const done = new Map(
      items.map(({ metadata, status }) => [metadata.name, status?.progress?.unitsDone ?? 0]),
    );
    for (const { name, endedAt, shown } of working) {
      const units = done.get(name) ?? 0;
      const old = endedAt.filter((at) => at <= askedAt - BEHIND_MS).length;
      assert.ok(units >= old, `${name} shows ${units} units, but ${old} ended 15 s ago`);
      assert.ok(units <= endedAt.length, `${name} shows ${units} units, but only ${endedAt.length} ended`);
      assert.ok(units >= (shown.at(-1) ?? 0), `${name} went back from ${shown.at(-1)} to ${units} units`);
      shown.push(units);
    }
  };

  it('is at most 15 s behind the disk, never ahead of it, and never goes back', async () => {
    const model = await lab.model('vad');
    const names = Array.from({ length: TASKS }, (_, index) => `t${index}`);
    for (const name of names) expectOk(await lab.task(name, { model }));
    const all: Working[] = [];
    for (const [index, name] of names.entries())
      all.push(await begin(name, `127.77.2.${index + 1}`, index < SILENT));
    const working = all.slice(SILENT);
    for (const name of names) await lab.until(name, 'Running', ({ phase }) => phase === 'Running');

    const until = performance.now() + RUN_MS;
    for (let round = 0; performance.now() < until; round++) {
      const turn = working.filter((_, index) => index % 6 === round % 6);
      await Promise.all(turn.map(endUnit));
      await look(working);
      await pause(UNIT_MS / 6);
    }
    assert.ok(working.every(({ endedAt }) => endedAt.length > 3));
    await eventually(
      'what ended last is shown',
      async () => {
        await look(working);
        return working.every(({ endedAt, shown }) => shown.at(-1) === endedAt.length) ? true : undefined;
      },
      BEHIND_MS + 5000,
    );
  });
});
