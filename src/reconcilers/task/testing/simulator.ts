import { type Attempt, isTerminal, type TaskStatus } from '../../../api/task.ts';
import { aModel, aTask, DEFAULTS, ended, NOW, runningState } from '../../../jobs/testing/fixtures.ts';
import { type ContainerState, isAlive, type JobView, jobVerdict, type PodView } from '../../../jobs/views.ts';
import type { Observed } from '../observed.ts';
import { planTask } from '../plan.ts';
import type { TaskPlan } from '../task-plan.ts';

/**
 * A world in memory for exploring orders of events: one task, an API server that guards status writes by version and
 * by the CRD's rules, a Job controller, and two operators that may hold stale copies and may die between two writes.
 */
export interface Event {
  readonly do:
    | 'sync'
    | 'sync tasks'
    | 'sync jobs'
    | 'sync pods'
    | 'reconcile'
    | 'reconcile and die after the status write'
    | 'pod starts'
    | 'pod succeeds'
    | 'pod fails'
    | 'pod is evicted'
    | 'pod stops'
    | 'job is deleted'
    | 'model is deleted'
    | 'cancel'
    | 'suspend'
    | 'resume'
    | 'time passes';
  readonly who: 0 | 1;
}

const inContainer = (name: string, state: ContainerState) => [{ name, state }];

/** How a pod and its Job look after the events that end them. */
const ENDS: Partial<
  Record<Event['do'], { readonly pod: Partial<PodView>; readonly job: 'Complete' | 'Failed' }>
> = {
  'pod succeeds': {
    pod: { phase: 'Succeeded', containers: inContainer('publish', ended(0)) },
    job: 'Complete',
  },
  'pod fails': { pod: { phase: 'Failed', containers: inContainer('model', ended(3)) }, job: 'Failed' },
  'pod is evicted': { pod: { phase: 'Failed', reason: 'Evicted' }, job: 'Failed' },
};

interface Copy {
  readonly status: TaskStatus | undefined;
  readonly version: number;
  readonly desired: 'Run' | 'Suspend' | 'Cancel';
  readonly jobs: readonly JobView[];
  readonly pods: readonly PodView[];
  readonly hasModel: boolean;
}

export class Simulator {
  /** What went wrong, in words; empty for a correct planner. */
  readonly violations: string[] = [];
  status: TaskStatus | undefined;
  #version = 1;
  #jobs: JobView[] = [];
  #pods: PodView[] = [];
  #desired: 'Run' | 'Suspend' | 'Cancel' = 'Run';
  #hasModel = true;
  #now = NOW.getTime();
  #serial = 0;
  /** Jobs ever created, by attempt. */
  readonly #created = new Map<number, number>();
  readonly #copies: [Copy, Copy];
  writes = 0;

  constructor() {
    this.#copies = [this.#copy(), this.#copy()];
  }

  get alivePods(): number {
    return this.#pods.filter(isAlive).length;
  }

  apply(event: Event): void {
    switch (event.do) {
      case 'sync':
      case 'sync tasks':
      case 'sync jobs':
      case 'sync pods':
        this.#sync(event);
        break;
      case 'reconcile':
        this.#reconcile(event.who, false);
        break;
      case 'reconcile and die after the status write':
        this.#reconcile(event.who, true);
        break;
      default:
        this.#happen(event.do);
    }
    if (this.alivePods > 1) this.violations.push(`${this.alivePods} pods are alive at once`);
  }

  /** Lets everything come to rest: both operators see everything, time passes, pods that were told to stop do. */
  settle(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.apply({ do: 'time passes', who: 0 });
      this.apply({ do: 'pod stops', who: 0 });
      for (const who of [0, 1] as const) {
        this.apply({ do: 'sync', who });
        this.apply({ do: 'reconcile', who });
      }
    }
  }

  #copy(): Copy {
    return {
      status: this.status,
      version: this.#version,
      desired: this.#desired,
      jobs: [...this.#jobs],
      pods: [...this.#pods],
      hasModel: this.#hasModel,
    };
  }

  /** Each kind has a watch of its own, so a copy may know a pod whose Job it has not heard of, or the other way round. */
  #sync({ do: what, who }: Event): void {
    const { status, version, desired, jobs, pods, hasModel } = this.#copy();
    const copy = this.#copies[who];
    if (what === 'sync') this.#copies[who] = { status, version, desired, jobs, pods, hasModel };
    if (what === 'sync tasks') this.#copies[who] = { ...copy, status, version, desired, hasModel };
    if (what === 'sync jobs') this.#copies[who] = { ...copy, jobs };
    if (what === 'sync pods') this.#copies[who] = { ...copy, pods };
  }

  #seen(copy: Copy, who: number, live: boolean): Observed {
    const task = aTask({ desired: copy.desired }, copy.status);
    return {
      task: { ...task, metadata: { ...task.metadata, resourceVersion: String(copy.version) } },
      model: copy.hasModel
        ? { ok: true, model: aModel({ failure: { maxAttempts: 3, backoffSeconds: 0 } }) }
        : undefined,
      jobs: live ? [...this.#jobs] : copy.jobs,
      pods: live ? [...this.#pods] : copy.pods,
      live,
      storeProblem: undefined,
      creation: { problem: undefined },
      store: { is: 'unknown' },
      retried: undefined,
      progress: undefined,
      progressPauseMs: 60_000,
      hardware: 'None',
      callbacks: new Map(),
      identity: `operator-${who}`,
      mayStart: true,
      defaults: DEFAULTS,
      policy: {
        allowTags: true,
        pendingDeadlineSeconds: 86400,
        maxDisruptions: 3,
        nodeLost: { afterSeconds: 60 },
        callbacks: {},
      },
      now: new Date(this.#now),
    };
  }

  #reconcile(who: 0 | 1, dies: boolean): void {
    this.#now += 1; // no two passes decide at the same moment, so no two claims are the same
    const copy = this.#copies[who];
    const plan = this.#decide(copy, who);
    if (plan.status !== copy.status && !this.#write(copy, plan.status)) return;
    if (dies) return;
    for (const { uid } of plan.removeJobs) this.#removeJob(uid);
    for (const { uid } of plan.removePods) this.#removePod(uid);
    if (plan.create) this.#create(plan.create.metadata?.name ?? '', plan.status?.attempt?.number ?? 0);
  }

  #decide(copy: Copy, who: number): TaskPlan {
    const first = planTask(this.#seen(copy, who, false));
    const plan = first.needs === 'live' ? planTask(this.#seen(copy, who, true)) : first;
    if (plan.needs) this.violations.push(`asks for ${plan.needs} twice`);
    return plan;
  }

  /** False: conflict. The rules of the CRD are checked against what is stored, whoever writes. */
  #write(copy: Copy, next: TaskStatus | undefined): boolean {
    if (copy.version !== this.#version) return false;
    const before = this.status;
    if (isTerminal(before?.phase) && next?.phase !== before?.phase)
      this.violations.push('a terminal phase changed');
    if (before?.attempt) this.#checkAttempt(before.attempt, next?.attempt);
    this.status = next;
    this.#version++;
    this.writes++;
    return true;
  }

  #checkAttempt(before: Attempt, next: Attempt | undefined): void {
    if (!next || next.number < before.number) this.violations.push('the attempt number decreased');
    const same = next?.number === before.number;
    if (same && before.jobUID && next.jobUID !== before.jobUID)
      this.violations.push('the UID of a Job changed');
  }

  #create(name: string, attempt: number): void {
    if (this.#jobs.some((job) => job.metadata.name === name)) return; // 409: adopted
    this.#created.set(attempt, (this.#created.get(attempt) ?? 0) + 1);
    if ((this.#created.get(attempt) ?? 0) > 1)
      this.violations.push(`a second Job was created for attempt ${attempt}`);
    const uid = `job-${++this.#serial}`;
    const creationTimestamp = new Date(this.#now).toISOString();
    const metadata = { namespace: 'lab', resourceVersion: '1', creationTimestamp };
    const ids = { taskUid: 'task-uid', metadata: { ...metadata, name, uid } };
    this.#jobs.push({
      ...ids,
      ownerUid: 'task-uid',
      taskName: 'night-1',
      attempt,
      suspended: false,
      managedBy: undefined,
      queue: undefined,
      startedAt: undefined,
      conditions: [],
    });
    this.#pods.push({
      ...ids,
      metadata: { ...metadata, name: `${name}-x`, uid: `pod-${this.#serial}` },
      ownerUid: uid,
      phase: 'Pending',
      reason: undefined,
      message: undefined,
      node: 'n',
      ip: undefined,
      deletionGraceSeconds: undefined,
      jobName: name,
      conditions: [],
      containers: [],
    });
  }

  /** Foreground deletion: the Job stays until its pod has stopped. */
  #removeJob(uid: string): void {
    const deletionTimestamp = new Date(this.#now).toISOString();
    this.#jobs = this.#jobs.map((job) =>
      job.metadata.uid === uid ? { ...job, metadata: { ...job.metadata, deletionTimestamp } } : job,
    );
    this.#pods = this.#pods.map((pod) =>
      pod.ownerUid === uid ? { ...pod, metadata: { ...pod.metadata, deletionTimestamp } } : pod,
    );
    if (!this.#pods.some((pod) => pod.ownerUid === uid && isAlive(pod))) this.#dropJob(uid);
  }

  #removePod(uid: string): void {
    const owner = this.#pods.find(({ metadata }) => metadata.uid === uid)?.ownerUid;
    if (this.#jobs.some((job) => job.metadata.uid === owner && jobVerdict(job) === 'unfinished'))
      this.violations.push('the pod of a Job that is there was removed as an orphan');
    this.#pods = this.#pods.filter((pod) => pod.metadata.uid !== uid);
  }

  #dropJob(uid: string): void {
    this.#jobs = this.#jobs.filter((job) => job.metadata.uid !== uid);
    this.#pods = this.#pods.filter((pod) => pod.ownerUid !== uid);
  }

  #happen(what: Event['do']): void {
    const pod = this.#pods.find(isAlive);
    if (what === 'time passes') this.#now += 40_000;
    else if (what === 'model is deleted') this.#hasModel = false;
    else if (what === 'cancel') this.#ask('Cancel');
    else if (what === 'suspend') this.#ask('Suspend');
    else if (what === 'resume') this.#ask('Run');
    else if (pod) this.#happenTo(pod, what);
  }

  #ask(desired: 'Run' | 'Suspend' | 'Cancel'): void {
    if (this.#desired === 'Cancel') return;
    this.#desired = desired;
    this.#version++;
  }

  #happenTo(pod: PodView, what: Event['do']): void {
    const owner = pod.ownerUid ?? '';
    if (what === 'pod starts') this.#setPod(pod, { containers: inContainer('model', runningState) });
    else if (what === 'pod stops' && pod.metadata.deletionTimestamp) this.#dropJob(owner);
    // By hand, and only a Job that the status knows: the other case is the one that is not promised.
    else if (what === 'job is deleted' && this.status?.attempt?.jobUID === owner) this.#dropJob(owner);
    const end = ENDS[what];
    if (end) this.#end(pod, end.pod, end.job);
  }

  #setPod(pod: PodView, change: Partial<PodView>): void {
    this.#pods = this.#pods.map((p) => (p === pod ? { ...p, ...change } : p));
  }

  #end(pod: PodView, change: Partial<PodView>, condition: 'Complete' | 'Failed'): void {
    this.#setPod(pod, change);
    const conditions = [{ type: condition, status: 'True' }];
    this.#jobs = this.#jobs.map((job) =>
      job.metadata.uid === pod.ownerUid && jobVerdict(job) === 'unfinished' ? { ...job, conditions } : job,
    );
    if (pod.metadata.deletionTimestamp) this.#dropJob(pod.ownerUid ?? '');
  }
}
