import { z } from 'zod';
import type { ResourceClient } from '../../controller/client.ts';
import type { KubeObject } from '../../controller/resources.ts';
import type { JobView } from '../../jobs/views.ts';
import { truncate } from '../../lib/truncate.ts';

const rawEvent = z.object({
  type: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  lastTimestamp: z.string().nullish(),
  eventTime: z.string().nullish(),
  series: z.object({ lastObservedTime: z.string().nullish() }).nullish(),
});
type Told = z.infer<typeof rawEvent>;

/** Where events are read; nothing else of the client is used. */
interface Events {
  list(options: Parameters<ResourceClient<KubeObject>['list']>[0]): Promise<readonly unknown[]>;
}

/** Why a Job has no pod, as told by the Job controller or, for a suspended Job, by Kueue; undefined when nobody did. */
export async function whyNoPod(
  events: Events,
  job: JobView,
  signal: AbortSignal,
): Promise<string | undefined> {
  const message = job.suspended
    ? await whyQueued(events, job, signal)
    : last(await about(events, job, { uid: job.metadata.uid, reason: 'FailedCreate' }, signal))?.message;
  return message ? truncate(message.replaceAll(/\s+/g, ' ').trim(), 400) : undefined;
}

/**
 * Kueue tells on the Job that it stopped it, and on the Workload that it made for the Job why that does not fit. The
 * operator has no rights on Workloads and needs none: an event on the Job names the Workload.
 */
async function whyQueued(events: Events, job: JobView, signal: AbortSignal): Promise<string | undefined> {
  const onJob = await about(events, job, { uid: job.metadata.uid }, signal);
  const turn = last(onJob.filter(({ reason }) => reason === 'Started' || reason === 'Stopped'));
  if (turn?.reason === 'Stopped') return turn.message;
  const workload = nameIn(last(onJob.filter(({ reason }) => reason === 'CreatedWorkload'))?.message);
  if (workload === undefined) return undefined;
  const onWorkload = await about(events, job, { kind: 'Workload', name: workload }, signal);
  return last(onWorkload.filter(({ type }) => type === 'Warning'))?.message;
}

/** The name in "Created Workload: namespace/name". */
function nameIn(message: string | undefined): string | undefined {
  return /: [a-z0-9.-]+\/([a-z0-9.-]+)$/.exec(message ?? '')?.[1];
}

interface Wanted {
  readonly uid?: string;
  readonly kind?: string;
  readonly name?: string;
  readonly reason?: string;
}

async function about(
  events: Events,
  { metadata }: JobView,
  { reason, ...object }: Wanted,
  signal: AbortSignal,
): Promise<readonly Told[]> {
  const parts = Object.entries(object).map(([field, value]) => `involvedObject.${field}=${value}`);
  const fieldSelector = [...parts, ...(reason ? [`reason=${reason}`] : [])].join(',');
  const items = await events.list({ namespace: metadata.namespace, fieldSelector, signal });
  return items.map((item) => rawEvent.parse(item));
}

function last(told: readonly Told[]): Told | undefined {
  return told.toSorted((a, b) => timeOf(a).localeCompare(timeOf(b))).at(-1);
}

function timeOf({ series, lastTimestamp, eventTime }: Told): string {
  return series?.lastObservedTime ?? lastTimestamp ?? eventTime ?? '';
}
