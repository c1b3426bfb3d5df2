import { readFileSync, statfsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { run } from '../../hack/cluster/exec.ts';
import type { PlannedFault, Target } from '../../hack/storm/plan.ts';
import { processesOf } from '../e2e/support/processes.ts';
import { OPERATOR, site, STORM } from '../e2e/support/site.ts';
import { onStore } from '../e2e/support/work.ts';
import { says, taken } from '../faults/rig/sink.ts';
import { eventually } from '../support/eventually.ts';
import type { Ground } from './ground.ts';
import { until } from './people.ts';

/* Everything below the tasks dies or stands still, one at a time. */

/** A fault that was done. */
export interface Struck extends PlannedFault {
  /** Since the start of the storm. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** From its end until the API server is ready, the node too, and controller and elsi-sync lead. */
  readonly recoverySeconds: number;
  /** Whom it hit: a pod, a process. */
  readonly victim: string;
}

/** Longer than this and a recovery counts as failed: pods that died several times wait for minutes. */
const RECOVERY_MS = 330_000;

/** Strikes as planned, each fault after the recovery from the one before; says what did not recover. */
export async function storm(
  ground: Ground,
  faults: readonly PlannedFault[],
  startMs: number,
  tell: (struck: Struck) => void,
): Promise<readonly Struck[]> {
  const done: Struck[] = [];
  const since = (): number => Math.round((performance.now() - startMs) / 100) / 10;
  for (const fault of faults) {
    await until(startMs + fault.atSeconds * 1000);
    const fromSeconds = since();
    const victim = await strike(ground, fault);
    const toSeconds = since();
    await recovered(Date.now());
    const recoverySeconds = Math.round((since() - toSeconds) * 10) / 10;
    const struck = { ...fault, fromSeconds, toSeconds, recoverySeconds, victim };
    done.push(struck);
    tell(struck);
  }
  return done;
}

async function strike(ground: Ground, { target, how, seconds }: PlannedFault): Promise<string> {
  if (target === 'disk') return fillDisk(seconds);
  if (target === 'elsi') return troubleElsi(ground, how, seconds);
  if (target === 'receiver') return troubleReceiver(ground, how, seconds);
  const { pid, victim } = await processOf(ground, target);
  if (how === 'kill') process.kill(pid, 'SIGKILL');
  else await freeze(pid, seconds);
  return victim;
}

async function freeze(pid: number, seconds: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  try {
    await pause(seconds * 1000);
  } finally {
    try {
      process.kill(pid, 'SIGCONT');
    } catch {
      // Its liveness probe has had it killed meanwhile.
    }
  }
}

/** A program of the machine by the record of its supervisor; a program in a pod by the pod that leads. */
async function processOf(
  { cluster }: Ground,
  target: Target,
): Promise<{ readonly pid: number; readonly victim: string }> {
  if (target !== 'controller' && target !== 'elsi-sync') {
    const [pid = ''] = readFileSync(join(cluster, 'run', `${target}.child`), 'utf8').split(' ');
    return { pid: Number(pid), victim: `${target}, pid ${pid}` };
  }
  const found = async () => {
    const leader = await leaderOf(target);
    const pid = leader && processesOf(leader.uid, /analysis-operator/).at(0);
    return leader && pid ? { pid, victim: `pod ${leader.name}, which leads` } : undefined;
  };
  return eventually(`the leading ${target}`, found, RECOVERY_MS, 500);
}

const lease = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({ holderIdentity: z.string().default(''), renewTime: z.string().default('') }),
});
const leases = z.object({ items: z.array(lease) });
const pods = z.object({
  items: z.array(z.object({ metadata: z.object({ name: z.string(), uid: z.string() }) })),
});

async function leasesNow(): Promise<z.output<typeof lease>[]> {
  const path = `/apis/coordination.k8s.io/v1/namespaces/${OPERATOR.namespace}/leases`;
  return leases.parse(await site().kube.get(path)).items;
}

async function leaderOf(component: 'controller' | 'elsi-sync') {
  const isSync = ({ metadata }: z.output<typeof lease>): boolean => metadata.name.includes('elsi');
  const own = (await leasesNow()).find((one) => isSync(one) === (component === 'elsi-sync'));
  const selector = encodeURIComponent(`app.kubernetes.io/component=${component}`);
  const path = `/api/v1/namespaces/${OPERATOR.namespace}/pods?labelSelector=${selector}`;
  const { items } = pods.parse(await site().kube.get(path));
  return items.find(({ metadata }) => own?.spec.holderIdentity.startsWith(`${metadata.name}_`))?.metadata;
}

const node = z.object({
  items: z.array(
    z.object({
      status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })) }),
    }),
  ),
});

/** The API server answers, the node is ready, its kubelet beats, and both leases have been renewed since. */
async function recovered(sinceMs: number): Promise<void> {
  const well = async (): Promise<true | undefined> => {
    const { items } = node.parse(await site().kube.get('/api/v1/nodes'));
    const isReady = items.every(({ status }) =>
      status.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
    );
    const beats = leases.parse(
      await site().kube.get('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases'),
    );
    const all = [...(await leasesNow()), ...beats.items];
    const isRenewed = all.every(({ spec }) => Date.parse(spec.renewTime) > sinceMs);
    return isReady && isRenewed && all.length >= 3 ? true : undefined;
  };
  await eventually('all is well again', () => well().catch(() => undefined), RECOVERY_MS, 500);
}

async function troubleElsi({ elsi }: Ground, how: PlannedFault['how'], seconds: number): Promise<string> {
  if (how === 'refuse') {
    await elsi.down();
    await pause(seconds * 1000);
    await elsi.up();
    return 'ELSI, which refuses connections';
  }
  const wrong =
    how === 'hang' ? ({ kind: 'hang', after: true } as const) : ({ kind: 'status', status: 503 } as const);
  for (const on of ['login', 'list', 'get', 'put'] as const)
    elsi.now().inject({ on, times: 1_000_000, do: wrong });
  await pause(seconds * 1000);
  elsi.now().calm();
  return how === 'hang' ? 'ELSI, which does what it is asked and never answers' : 'ELSI, which says 503';
}

async function troubleReceiver(
  { receiver }: Ground,
  how: PlannedFault['how'],
  seconds: number,
): Promise<string> {
  if (how === 'refuse') await receiver.down();
  if (how === 'hang') receiver.answer(() => undefined);
  if (how === 'error') receiver.answer(says(503));
  await pause(seconds * 1000);
  if (how === 'refuse') await receiver.up();
  receiver.answer(taken);
  return `the receiver of callbacks: ${how}`;
}

/** Leaves no byte and no more; what is freed meanwhile is taken again. */
async function fillDisk(seconds: number): Promise<string> {
  const root = onStore('', STORM);
  const filler = join(root, 'filler');
  try {
    for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
      await run('sh', ['-c', 'cat /dev/zero >>"$1" 2>/dev/null; true', 'sh', filler]);
      await pause(500);
    }
    return `the store: ${statfsSync(root).bavail} blocks left`;
  } finally {
    await rm(filler, { force: true });
  }
}
