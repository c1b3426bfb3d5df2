import type { AnalysisTask } from '../api/objects.ts';
import { isTerminal } from '../api/task.ts';
import { isAlreadyExists, isConflict } from '../controller/api-error.ts';
import type { ResourceClient } from '../controller/client.ts';
import { LeadershipLostError } from '../controller/leader.ts';
import type { Log } from '../controller/log.ts';
import { mapBounded } from '../lib/concurrent.ts';
import type { ElsiClient } from './client.ts';
import { ElsiError } from './errors.ts';
import { type Action, acknowledged, planRound, type Policies } from './plan.ts';
import type { MissingBook } from './missing.ts';
import type { SyncMetrics } from './metrics.ts';
import type { RejectionBook } from './rejections.ts';
import { runOf, type RunSettings, type TaskObject } from './run.ts';
import { FINALIZER } from '../api/keys.ts';
import { estimatedSeconds, statusFor } from './verdict.ts';
import { type ElsiStatus, isFinal, rankOf } from './wire.ts';

export interface RoundDeps {
  readonly elsi: ElsiClient;
  readonly tasks: Pick<ResourceClient<TaskObject>, 'create' | 'mergePatch'>;
  /** The runs as the cluster shows them now. */
  readonly runs: () => readonly AnalysisTask[];
  readonly settings: RunSettings;
  readonly policies: Policies;
  readonly missing: MissingBook;
  readonly rejections: RejectionBook;
  /** Asked right before anything is changed at ELSI; the cluster's client asks by itself. */
  readonly mayAct: () => boolean;
  readonly now: () => Date;
  readonly metrics: SyncMetrics;
  readonly log: Log;
}

/** Actions at once: ELSI is a web application with other users. */
const CONCURRENCY = 4;

/**
 * One round: list, plan, act. A failed action is only counted, the next round has it again. Throws when there is no list,
 * and when ELSI asks for time: the pause is the loop's.
 */
export async function syncRound(deps: RoundDeps, signal: AbortSignal): Promise<void> {
  const listed = await deps.elsi.list(signal);
  deps.metrics.polled('success', listed.items);
  deps.metrics.rejected(listed.badItems);
  const runs = deps.runs();
  const known = runs.flatMap((run) => runOf(run)?.uid ?? []);
  const missing = deps.missing.note(listed, known);
  const { settings, policies } = deps;
  const actions = planRound({ listed, runs, missing, settings, policies });
  await mapBounded(actions, CONCURRENCY, (action) => attempt(deps, action, signal));
  tellBacklog(deps);
}

async function attempt(deps: RoundDeps, action: Action, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    if (await carryOut(deps, action, signal)) deps.metrics.did(action.do);
  } catch (error) {
    if (signal.aborted || error instanceof LeadershipLostError) throw error;
    if (isConflict(error) || isAlreadyExists(error)) return; // somebody was faster; the next round sees what is
    deps.metrics.failed(action.do);
    deps.log.warn('Cannot carry out', { action: action.do, uid: action.uid, error });
    if (error instanceof ElsiError && error.retryAfterMs !== undefined) throw error;
  }
}

/** True when something was changed. */
function carryOut(deps: RoundDeps, action: Action, signal: AbortSignal): Promise<boolean> {
  switch (action.do) {
    case 'create':
      return create(deps, action, signal);
    case 'put':
      return tell(deps, action, signal);
    case 'estimate':
      return estimate(deps, action, signal);
    case 'acknowledge':
      return acknowledge(deps, action.run, { shown: action.shown, signal });
    case 'look':
      return look(deps, action.run, signal);
    case 'cancel':
      return cancel(deps, action, signal);
    case 'reject':
      return reject(deps, action, signal);
  }
}

type Of<K extends Action['do']> = Extract<Action, { do: K }>;

async function create(
  deps: RoundDeps,
  { uid, object, after }: Of<'create'>,
  signal: AbortSignal,
): Promise<boolean> {
  // The list may be older than the end that another process has just reported: only a fresh look shows a retry.
  if (after && (await deps.elsi.get(uid, signal))?.status !== 'PENDING') return false;
  await deps.tasks.create(object, { signal });
  deps.log.info(after ? 'A researcher runs the task again' : 'Took over a task', {
    uid,
    task: object.metadata.name,
  });
  return true;
}

/** Read, write, read again: ELSI has no way to make a write conditional, so an older end must not be overwritten blindly. */
async function tell(
  deps: RoundDeps,
  { uid, status, seconds, run }: Of<'put'>,
  signal: AbortSignal,
): Promise<boolean> {
  const before = await deps.elsi.get(uid, signal);
  if (!before) return false;
  if (rankOf(before.status) < rankOf(status)) {
    needLease(deps);
    await deps.elsi.put(uid, { status, estimatedSeconds: seconds }, signal);
    deps.log.info('Told ELSI', { uid, status, before: before.status });
  }
  const after = (await deps.elsi.get(uid, signal))?.status;
  if (after === undefined || rankOf(after) < rankOf(status)) {
    deps.log.warn('ELSI does not show what it was told', { uid, status, shown: after });
    return true;
  }
  if (run && isFinal(status)) await acknowledge(deps, run, { shown: after, signal });
  return true;
}

/** A hint: what ELSI shows then is not read back, the next list shows it. */
async function estimate(
  deps: RoundDeps,
  { uid, seconds }: Of<'estimate'>,
  signal: AbortSignal,
): Promise<boolean> {
  if ((await deps.elsi.get(uid, signal))?.status !== 'RUNNING') return false; // it has ended meanwhile
  needLease(deps);
  await deps.elsi.put(uid, { estimatedSeconds: seconds }, signal);
  return true;
}

interface Seen {
  readonly shown: ElsiStatus | 'nothing';
  readonly signal: AbortSignal;
}

/** Lets go of a run: guarded by the version of the copy decided on. */
async function acknowledge(deps: RoundDeps, run: AnalysisTask, { shown, signal }: Seen): Promise<boolean> {
  if (acknowledged(run)) return false;
  const { name, namespace, resourceVersion, finalizers = [] } = run.metadata;
  const want = statusFor(run);
  if (shown !== want)
    deps.log.warn('ELSI shows another end than the run has; it stays', { task: name, shown, run: want });
  const rest = finalizers.filter((finalizer) => finalizer !== FINALIZER.elsi);
  await deps.tasks.mergePatch(
    { name, namespace },
    { metadata: { resourceVersion, finalizers: rest } },
    { signal },
  );
  return true;
}

async function look(deps: RoundDeps, run: AnalysisTask, signal: AbortSignal): Promise<boolean> {
  const { uid = '' } = runOf(run) ?? {};
  const found = await deps.elsi.get(uid, signal);
  if (!found) return acknowledge(deps, run, { shown: 'nothing', signal });
  return tell(deps, { do: 'put', uid, run, status: statusFor(run), seconds: estimatedSeconds(run) }, signal);
}

async function cancel(
  deps: RoundDeps,
  { uid, run, why }: Of<'cancel'>,
  signal: AbortSignal,
): Promise<boolean> {
  const { name, namespace, resourceVersion } = run.metadata;
  const patch = { metadata: { resourceVersion }, spec: { desired: 'Cancel' } };
  await deps.tasks.mergePatch({ name, namespace }, patch, { signal });
  deps.log.info('Cancelled a run', { uid, task: name, why });
  return true;
}

async function reject(
  deps: RoundDeps,
  { uid, tell: isToTell, problem }: Of<'reject'>,
  signal: AbortSignal,
): Promise<boolean> {
  if (deps.rejections.isNew(uid, problem)) deps.log.warn('Rejected a task of ELSI', { uid, problem });
  if (!isToTell || uid === undefined) return false;
  return tell(deps, { do: 'put', uid, status: 'FAILED', seconds: undefined }, signal);
}

function needLease({ mayAct }: RoundDeps): void {
  if (!mayAct()) throw new LeadershipLostError('ELSI is told nothing: the lease is not fresh');
}

function tellBacklog({ runs, now, metrics }: RoundDeps): void {
  const ends = runs().filter((run) => isTerminal(run.status?.phase) && !acknowledged(run));
  const ages = ends.map(({ status }) => (now().getTime() - Date.parse(status?.finishedAt ?? '')) / 1000);
  metrics.backlog(ends.length, Math.max(0, ...ages.filter(Number.isFinite)));
}
