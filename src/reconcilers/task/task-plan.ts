import type { IJob } from 'kubernetes-models/batch/v1';
import type { AgentRequest } from '../../api/request.ts';
import type { TaskStatus } from '../../api/task.ts';
import type { Measured } from '../rates/rate-book.ts';

/** An object to delete, with the UID as precondition: never its successor of the same name. */
export interface Removal {
  readonly name: string;
  readonly uid: string;
  /** Without waiting for the node to confirm that its containers ended. */
  readonly force?: boolean;
}

/**
 * What one pass does, in this order: status write, removals, creation of the claimed Job, event. The write comes first
 * because its version guard refuses a stale copy, which then neither deletes nor creates anything.
 */
export interface TaskPlan {
  /** The very object that was observed when there is nothing to write. */
  readonly status: TaskStatus | undefined;
  readonly removeJobs: readonly Removal[];
  readonly removePods: readonly Removal[];
  /** The task's finalizers as they should be; nothing else of this plan is carried out. */
  readonly finalizers?: readonly string[];
  /** The status above is a claim; this Job is created directly after it was accepted. */
  readonly create?: IJob;
  /** Decide again after reading more: nothing else of this plan is carried out. */
  readonly needs?: 'live' | 'creation' | 'store' | 'retried';
  /** With needs: 'store': what the next attempt's pod would be asked to do. */
  readonly question?: AgentRequest;
  /** What the attempt that ended took; noted once the status above was written. */
  readonly measured?: Measured | undefined;
  readonly requeueAfterMs?: number;
  readonly event?: { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string };
}

export const noRemovals = { removeJobs: [], removePods: [] } as const;
