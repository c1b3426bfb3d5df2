import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { aJob } from '../../jobs/testing/fixtures.ts';
import { whyNoPod } from './why-no-pod.ts';

interface Told {
  readonly of: string;
  readonly reason: string;
  readonly message: string;
  readonly type?: 'Normal' | 'Warning';
  /** Second of the minute. */
  readonly at: number;
  readonly isSeries?: boolean;
}

/** Events by the object that they are about: the Job by its UID, a Workload by its name. */
const eventsOf = (told: readonly Told[]) => ({
  list: ({ fieldSelector = '' }: { fieldSelector?: string | undefined }) => {
    const want = new URLSearchParams(fieldSelector.replaceAll(',', '&'));
    const of = want.get('involvedObject.uid') ?? want.get('involvedObject.name');
    const wanted = told.filter((one) => one.of === of && one.reason === (want.get('reason') ?? one.reason));
    return Promise.resolve(wanted.map(rawOf));
  },
});

function rawOf({ at, isSeries, ...rest }: Told): object {
  const time = `2026-03-01T11:58:${String(at).padStart(2, '0')}.000000Z`;
  const when = isSeries
    ? { eventTime: '2026-03-01T00:00:00Z', series: { lastObservedTime: time } }
    : { eventTime: time };
  return { ...rest, type: rest.type ?? 'Normal', lastTimestamp: null, ...when };
}

const created: Told = {
  of: 'job-uid-1',
  reason: 'CreatedWorkload',
  message: 'Created Workload: lab/job-night-1-ab',
  at: 1,
};
const pending: Told = {
  of: 'job-night-1-ab',
  type: 'Warning',
  reason: 'Pending',
  message: "couldn't assign flavors to pod set main:\n  no quota",
  at: 2,
};

const admitted: Told = { of: 'job-uid-1', reason: 'Started', message: 'Admitted by clusterQueue c', at: 3 };
const stopped: Told = {
  of: 'job-uid-1',
  reason: 'Stopped',
  message: 'Preempted to accommodate a workload',
  at: 4,
};

interface Row {
  readonly suspended: boolean;
  readonly told: readonly Told[];
  readonly why: string | undefined;
}

const rows: Record<string, Row> = {
  'nobody said anything': { suspended: true, told: [], why: undefined },
  'the Job controller: its last refusal': {
    suspended: false,
    told: [
      { of: 'job-uid-1', reason: 'FailedCreate', message: 'exceeded quota', at: 3 },
      { of: 'job-uid-1', reason: 'FailedCreate', message: 'earlier', at: 2 },
      { of: 'job-uid-1', reason: 'Stopped', message: 'not about creation', at: 4 },
    ],
    why: 'exceeded quota',
  },
  'the queue has only taken note of the Job': { suspended: true, told: [created], why: undefined },
  'the queue: why the Workload does not fit, on one line': {
    suspended: true,
    told: [created, pending],
    why: "couldn't assign flavors to pod set main: no quota",
  },
  'the queue: what it said last, also when it repeats itself': {
    suspended: true,
    told: [created, { ...pending, message: 'no quota at all', at: 5, isSeries: true }, pending],
    why: 'no quota at all',
  },
  'the queue: that it stopped the Job, whatever it says about the Workload since': {
    suspended: true,
    told: [created, admitted, stopped, { ...pending, at: 5 }],
    why: 'Preempted to accommodate a workload',
  },
  'the queue: not a stop that was followed by a start': {
    suspended: true,
    told: [created, stopped, { ...admitted, at: 5 }, { ...pending, at: 6 }],
    why: "couldn't assign flavors to pod set main: no quota",
  },
  'a Workload whose name cannot be read is not looked for': {
    suspended: true,
    told: [{ ...created, message: 'Created Workload: lab/a,b=c' }, pending],
    why: undefined,
  },
};

describe('whyNoPod()', () => {
  for (const [what, { suspended, told, why }] of Object.entries(rows))
    it(what, async () => {
      const job = aJob('unfinished', { suspended, queue: 'gpus' });
      assert.equal(await whyNoPod(eventsOf(told), job, new AbortController().signal), why);
    });
});
