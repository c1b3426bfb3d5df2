import { isTerminal, type TaskStatus } from '../../../api/task.ts';
import { aModel, aTask, DEFAULTS, ended, NOW, runningState } from '../../../jobs/testing/fixtures.ts';
import { isAlive, type JobView, jobVerdict, type PodView } from '../../../jobs/views.ts';
import type { Observed } from '../observed.ts';
import { planTask } from '../plan.ts';

/**
 * A world in memory for exploring orders of events: one task, an API server that guards status writes by version and
 * by the CRD's rules, a Job controller, and two operators that may hold stale copies and may die between two writes.
 */
export interface Event {
  readonly do:
    | 'sync'
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

interface Copy {
  readonly status: TaskStatus | undefined;
  readonly version: number;
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
  #published = 0;
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
        this.#copies[event.who] = this.#copy();
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
    if (this.#published > 1) this.violations.push('two results were published');
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
      jobs: [...this.#jobs],
      pods: [...this.#pods],
      hasModel: this.#hasModel,
    };
  }

  #seen(copy: Copy, who: number, live: boolean): Observed {
    const task = aTask({ desired: this.#desired }, copy.status);
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
      progress: undefined,
      progressDue: false,
      identity: `operator-${who}`,
      mayStart: true,
      defaults: DEFAULTS,
      policy: { allowTags: true, pendingDeadlineSeconds: 86400, maxDisruptions: 3, callbackEndpoints: [] },
      now: new Date(this.#now),
    };
  }

  #reconcile(who: 0 | 1, dies: boolean): void {
    const copy = this.#copies[who];
    let seen = this.#seen(copy, who, false);
    let plan = planTask(seen);
    if (plan.needs === 'live') {
      seen = this.#seen(copy, who, true);
      plan = planTask(seen);
    }
    if (plan.needs) {
      this.violations.push(`asks for ${plan.needs} twice`);
      return;
    }
    if (plan.status !== copy.status && !this.#write(copy, plan.status)) return;
    if (dies) return;
    for (const { uid } of plan.removeJobs) this.#removeJob(uid);
    for (const { uid } of plan.removePods) this.#removePod(uid);
    if (plan.create) this.#create(plan.create.metadata?.name ?? '', plan.status?.attempt?.number ?? 0);
  }

  /** False: conflict. The rules of the CRD are checked against what is stored, whoever writes. */
  #write(copy: Copy, next: TaskStatus | undefined): boolean {
    if (copy.version !== this.#version) return false;
    const before = this.status;
    if (isTerminal(before?.phase) && next?.phase !== before?.phase)
      this.violations.push('a terminal phase changed');
    const [old, now] = [before?.attempt, next?.attempt];
    if (old && (!now || now.number < old.number)) this.violations.push('the attempt number decreased');
    if (old?.jobUID && now?.number === old.number && now.jobUID !== old.jobUID)
      this.violations.push('the UID of a Job changed');
    this.status = next;
    this.#version++;
    this.writes++;
    return true;
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
      active: 1,
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
      startTime: undefined,
      deletionGraceSeconds: undefined,
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
    const state = (model: Parameters<typeof ended>[0] | 'running') => [
      { name: 'model', state: model === 'running' ? runningState : ended(model) },
    ];
    if (what === 'pod starts') this.#setPod(pod, { containers: state('running') });
    if (what === 'pod fails') this.#end(pod, { phase: 'Failed', containers: state(3) }, 'Failed');
    if (what === 'pod is evicted') this.#end(pod, { phase: 'Failed', reason: 'Evicted' }, 'Failed');
    if (what === 'pod succeeds') {
      // A second publish of the same task finds the first one's manifest: the fence on the volume.
      if (this.#published === 0) this.#published++;
      this.#end(pod, { phase: 'Succeeded', containers: [{ name: 'publish', state: ended(0) }] }, 'Complete');
    }
    if (what === 'pod stops' && pod.metadata.deletionTimestamp) this.#dropJob(pod.ownerUid ?? '');
    // By hand, and only a Job that the status knows: the other case is the one that is not promised.
    if (what === 'job is deleted' && this.status?.attempt?.jobUID === pod.ownerUid)
      this.#dropJob(pod.ownerUid ?? '');
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
