import { aJob, aModel, aTask, DEFAULTS, IDENTITY, NOW } from '../../../jobs/testing/fixtures.ts';
import type { Observed } from '../observed.ts';
import type { TaskPlan } from '../task-plan.ts';

export function seen(given: Partial<Observed> = {}): Observed {
  return {
    task: aTask(),
    model: { ok: true, model: aModel() },
    jobs: [],
    pods: [],
    live: false,
    storeProblem: undefined,
    creation: undefined,
    store: { is: 'unknown' },
    retried: undefined,
    progress: undefined,
    progressPauseMs: 60_000,
    hardware: 'None',
    callbacks: new Map(),
    identity: IDENTITY,
    mayStart: true,
    defaults: DEFAULTS,
    policy: {
      allowTags: false,
      pendingDeadlineSeconds: 86400,
      maxDisruptions: 10,
      nodeLost: { afterSeconds: 60 },
      callbacks: {},
    },
    now: NOW,
    ...given,
  };
}

/** What the store agent says of a task that may start. */
const READY: Observed['store'] = {
  is: 'answered',
  answer: { v: 1, verdict: 'Ready', message: '1 recording' },
  recheckMs: 30_000,
};

/** The world a second later, had the plan been carried out and every object it removed been gone. */
export function after(given: Observed, plan: TaskPlan): Observed {
  if (plan.needs === 'live') return { ...given, live: true };
  if (plan.needs === 'retried') return { ...given, retried: { task: aTask({}, { phase: 'Failed' }) } };
  if (plan.needs === 'store') return { ...given, store: READY };
  if (plan.finalizers) {
    const metadata = { ...given.task.metadata, finalizers: [...plan.finalizers] };
    return { ...given, task: { ...given.task, metadata } };
  }
  if (plan.needs === 'creation') return { ...given, creation: { problem: undefined } };
  const now = new Date(given.now.getTime() + Math.min(plan.requeueAfterMs ?? 1000, 5000));
  const removed = new Set([...plan.removeJobs, ...plan.removePods].map(({ uid }) => uid));
  const kept = given.jobs.filter((job) => !removed.has(job.metadata.uid));
  const created = plan.create ? [aJob('unfinished', { attempt: plan.status?.attempt?.number ?? 1 })] : [];
  return {
    ...given,
    now,
    live: false,
    creation: undefined,
    jobs: [...kept, ...created],
    pods: given.pods.filter((pod) => !removed.has(pod.metadata.uid) && !removed.has(pod.ownerUid ?? '')),
    task: { ...given.task, ...(plan.status ? { status: plan.status } : {}) },
  };
}
