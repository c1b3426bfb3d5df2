import type { Ended, EndpointPolicy } from '../../api/callbacks.ts';
import type { AnalysisModel, AnalysisTask } from '../../api/objects.ts';
import type { ModelSeen } from '../../api/seen.ts';
import type { ProgressReport } from '../../api/request.ts';
import type { JobDefaults } from '../../jobs/defaults.ts';
import type { JobView, PodView } from '../../jobs/views.ts';
import type { RetriedSeen } from './retried.ts';
import type { StoreSeen } from './store/book.ts';

/** Rules of this installation that decisions depend on. */
export interface TaskPolicy {
  readonly allowTags: boolean;
  /** Seconds that a task may wait when no model says otherwise. */
  readonly pendingDeadlineSeconds: number;
  /** Free attempts after disruptions, before the task fails. */
  readonly maxDisruptions: number;
  readonly nodeLost: {
    /** Seconds by which a deleted pod may outlive its grace before its node counts as lost. */
    readonly afterSeconds: number;
    /** Seconds after that until the pod is removed without the node's word; undefined means never. */
    readonly forceDeleteAfterSeconds?: number | undefined;
  };
  /** Callback endpoints that tasks may name. */
  readonly callbacks: Readonly<Record<string, EndpointPolicy>>;
}

/** Everything a decision may look at: gathered once, never re-read. */
export interface Observed {
  readonly task: AnalysisTask;
  readonly model: ModelSeen | undefined;
  /** Jobs that the task controls, by owner UID. */
  readonly jobs: readonly JobView[];
  /** Pods that carry the task's UID; some may belong to no Job any more. */
  readonly pods: readonly PodView[];
  /** True when jobs and pods were read from the API server in this pass: only then absence is a fact. */
  readonly live: boolean;
  /** Why the store cannot be used yet. */
  readonly storeProblem: string | undefined;
  /** Why there is no pod, from the events of the Job controller or the queue; undefined until a plan asks for it. */
  readonly creation: { readonly problem: string | undefined } | undefined;
  /** What the store agent knows; undefined until a plan asks for it. */
  readonly store: StoreSeen | undefined;
  /** The task that spec.retryOf names, read from the API server now; undefined until a plan asks for it. */
  readonly retried: RetriedSeen | undefined;
  readonly progress: ProgressReport | undefined;
  /** Events that were delivered or given up and still stand in the outbox. */
  readonly callbacks: ReadonlyMap<string, Ended>;
  /** Milliseconds until a small change of progress may be written. */
  readonly progressPauseMs: number;
  /** Kind of hardware on which the attempt runs, as rates name it; undefined without a model. */
  readonly hardware: string | undefined;
  /** Random identity of this process; every claim carries it. */
  readonly identity: string;
  /** Whether the leader lease is fresh right now; nothing starts without it. */
  readonly mayStart: boolean;
  readonly defaults: JobDefaults;
  readonly policy: TaskPolicy;
  readonly now: Date;
}

type FailureRules = AnalysisModel['spec']['failure'];

/** How the model wants failures to be treated; undefined while it is missing or malformed. */
export function failureRules({ model }: Observed): FailureRules | undefined {
  return model?.ok ? model.model.spec.failure : undefined;
}

/** How long the task may wait, in seconds. */
export function pendingDeadline(seen: Observed): number {
  return failureRules(seen)?.pendingDeadlineSeconds ?? seen.policy.pendingDeadlineSeconds;
}

/** What time it is, and how long a node may be silent. */
export function clockOf({ now, policy }: Observed): { readonly now: Date; readonly nodeLostAfterMs: number } {
  return { now, nodeLostAfterMs: policy.nodeLost.afterSeconds * 1000 };
}
