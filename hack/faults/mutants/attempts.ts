import type { Mutant } from './mutant.ts';

const OUTCOME = 'src/jobs/outcome.ts';
const STOP = 'src/reconcilers/task/stop.ts';

/** Known bugs of what becomes of an attempt: how its end is read, and what follows from it. */
export const ATTEMPT_MUTANTS: readonly Mutant[] = [
  {
    name: 'published-before-is-a-failure',
    breaks: 'a pod that finds the result of an earlier attempt (exit code 42) has failed',
    row: 'F1/succeeded',
    edits: [
      {
        file: OUTCOME,
        find: "  if (ended.exitCode === EXIT.alreadyPublished) return { is: 'succeeded', report, pod };\n",
        replace: '',
      },
      {
        file: OUTCOME,
        find: 'stateOf(p, CONTAINER.prepare)?.terminated?.exitCode === EXIT.alreadyPublished,',
        replace: 'false,',
      },
    ],
  },
  {
    name: 'killed-is-a-model-error',
    breaks: 'exit code 137 without a reason is a failure of the model like any other',
    row: 'G6/no-reason',
    edits: [
      {
        file: OUTCOME,
        find: "if (ended.reason === 'OOMKilled' || ended.exitCode === KILLED) {",
        replace: "if (ended.reason === 'OOMKilled') {",
      },
    ],
  },
  {
    name: 'hanging-pod-is-waited-for',
    breaks: 'a pod whose model was killed for memory and which never ends is waited for',
    row: 'G6/hangs',
    edits: [
      {
        file: OUTCOME,
        find: "  if (model?.terminated?.reason === 'OOMKilled') return { is: 'doomed', ...OUT_OF_MEMORY };\n",
        replace: '',
      },
    ],
  },
  {
    name: 'killed-is-out-of-memory',
    breaks: 'exit code 137 of a pod that was taken away counts as a lack of memory',
    row: 'G6/disrupted',
    edits: [
      {
        file: OUTCOME,
        find: '    fromDisruption(pod) ??\n    fromDeadline(pod, evidence.job) ??\n    fromDeletion(pod) ??\n    fromModel(pod, evidence.exitCodes) ??',
        replace:
          '    fromModel(pod, evidence.exitCodes) ??\n    fromDisruption(pod) ??\n    fromDeadline(pod, evidence.job) ??\n    fromDeletion(pod) ??',
      },
    ],
  },
  {
    name: 'disruption-is-the-models-fault',
    breaks: 'a pod that was taken away uses up an attempt of the model',
    row: 'G3/eviction',
    edits: [
      {
        file: 'src/jobs/categories.ts',
        find: "Disrupted: { retry: 'free',",
        replace: "Disrupted: { retry: 'counted',",
      },
    ],
  },
  {
    name: 'refused-by-the-node-is-lost',
    breaks: 'a pod that its node refused without a DisruptionTarget is told as something else',
    row: 'G3/admission',
    edits: [
      {
        file: OUTCOME,
        find: 'if (!pod.reason || !KUBELET_REFUSALS.test(pod.reason)) return undefined;',
        replace: 'if (!pod.reason || KUBELET_REFUSALS.test(pod.reason)) return undefined;',
      },
    ],
  },
  {
    name: 'free-for-ever',
    breaks: 'a task that is disrupted is repeated without an end',
    row: 'G5/cap',
    edits: [
      {
        file: 'src/reconcilers/task/retry.ts',
        find: "how === 'free' ? limits.maxDisruptions :",
        replace: "how === 'free' ? Number.POSITIVE_INFINITY :",
      },
    ],
  },
  {
    name: 'success-is-demoted',
    breaks: 'a DisruptionTarget that stayed on a pod turns its success into a disruption',
    row: 'G5/success',
    edits: [
      {
        file: OUTCOME,
        find: "      return { is: 'succeeded', report: pod && reportOf(pod, CONTAINER.publish), pod };\n    case 'failed':",
        replace:
          "      return (\n        (pod && fromDisruption(pod)) ?? { is: 'succeeded', report: pod && reportOf(pod, CONTAINER.publish), pod }\n      );\n    case 'failed':",
      },
    ],
  },
  {
    name: 'lost-node-is-given-up',
    breaks: 'a node that says nothing is taken for dead, although nobody allowed that',
    row: 'G1',
    edits: [
      {
        file: STOP,
        find: 'forceDeleteAfterSeconds = Number.POSITIVE_INFINITY }',
        replace: 'forceDeleteAfterSeconds = 0 }',
      },
    ],
  },
  {
    name: 'image-is-waited-for',
    breaks: 'an image that cannot be pulled is nothing worth a word',
    row: 'G7',
    edits: [
      {
        file: 'src/jobs/waiting.ts',
        find: 'const blocked = pod.containers.find((c) => isProblem(c.state?.waiting?.reason));',
        replace: 'const blocked = pod.containers.find((c) => isProblem(c.state?.terminated?.reason));',
      },
    ],
  },
  {
    name: 'waits-for-ever',
    breaks: 'a pod that no node takes is waited for beyond the pending deadline',
    row: 'G8/deadline',
    edits: [
      {
        file: 'src/reconcilers/task/follow.ts',
        find: 'if (leftMs <= 0) return stop(seen, overdue(seen, outcome));',
        replace: 'if (leftMs <= Number.NEGATIVE_INFINITY) return stop(seen, overdue(seen, outcome));',
      },
    ],
  },
  {
    name: 'nobody-says-why',
    breaks: 'what the scheduler says of a pod is not told',
    row: 'G8',
    edits: [
      {
        file: 'src/jobs/waiting.ts',
        find: "if (scheduled?.status === 'False') return unschedulable(scheduled);",
        replace: "if (scheduled?.status === 'Unknown') return unschedulable(scheduled);",
      },
    ],
  },
  {
    name: 'orphan-left-alone',
    breaks: 'a pod whose Job is gone is neither removed nor waited for',
    row: 'F2',
    edits: [
      { file: STOP, find: '...orphans.map(named), ', replace: '' },
      {
        file: STOP,
        find: "return seen.jobs.some((job) => jobVerdict(job) === 'unfinished') || ownPods(seen).some(isAlive);",
        replace: "return seen.jobs.some((job) => jobVerdict(job) === 'unfinished');",
      },
    ],
  },
  {
    name: 'deletion-is-no-end',
    breaks: 'a task that is deleted and held by somebody else runs on',
    row: 'F4/held',
    edits: [
      {
        file: STOP,
        find: "  if (metadata.deletionTimestamp) return 'Cancel';\n",
        replace: '',
      },
      {
        file: 'src/reconcilers/task/plan.ts',
        find: '  if (metadata.deletionTimestamp && !isHeld(metadata)) return { ...nothing(seen), ...removals(seen) };\n',
        replace: '',
      },
    ],
  },
  {
    name: 'cancelled-with-a-pod',
    breaks: 'a task is Cancelled as soon as its Job is gone, whatever its pod does',
    row: 'F5/job',
    edits: [
      {
        file: STOP,
        find: "return seen.jobs.some((job) => jobVerdict(job) === 'unfinished') || ownPods(seen).some(isAlive);",
        replace: "return seen.jobs.some((job) => jobVerdict(job) === 'unfinished');",
      },
    ],
  },
  {
    name: 'label-is-proof',
    breaks: "whatever carries a task's label is taken for its pod",
    row: 'F9/repeated',
    edits: [
      {
        file: STOP,
        find: 'if (strays.length === 0) return seen.pods;',
        replace: 'if (strays.length >= 0) return seen.pods;',
      },
    ],
  },
  {
    name: 'published-too-late',
    breaks: 'a task that is cancelled while it publishes is Cancelled, although its result stands',
    row: 'P1/published-cancel',
    edits: [
      {
        file: STOP,
        find: "export function halt(seen: Observed, desired: 'Cancel' | 'Suspend'): TaskPlan {\n  const won = meanwhileSucceeded(seen);\n  if (won) return won;\n",
        replace: "export function halt(seen: Observed, desired: 'Cancel' | 'Suspend'): TaskPlan {\n",
      },
    ],
  },
  {
    name: 'owner-is-the-only-proof',
    breaks: 'the Job of an attempt whose owner was edited is taken for gone',
    row: 'F8/job-owner-removed',
    edits: [
      {
        file: 'src/reconcilers/task/observe.ts',
        find: '(job) => job.ownerUid === uid || job.metadata.uid === jobUID,',
        replace: '(job) => job.ownerUid === uid,',
      },
    ],
  },
  {
    name: 'found-by-label-alone',
    breaks: 'a Job whose labels were taken away is taken for gone',
    row: 'F8/job-labels-replaced',
    edits: [
      {
        file: 'src/reconcilers/task/observe.ts',
        find: 'const own = name && !isFound ?',
        replace: "const own = name === '' && !isFound ?",
      },
    ],
  },
  {
    name: 'old-copy-tidies-up',
    breaks: 'an old copy of a task is acted on although a Job of a later attempt is there',
    row: 'B7/two-leaders-retry',
    edits: [
      {
        file: 'src/reconcilers/task/plan.ts',
        find: '  if (isOutdated(seen)) return { ...nothing(seen), requeueAfterMs: OUTDATED_RECHECK_MS };\n',
        replace: '',
      },
    ],
  },
  {
    name: 'refused-claim-starts',
    breaks: 'whoever was refused a claim starts a Job all the same, under a name of its own',
    row: 'E3/claims',
    edits: [
      {
        file: 'src/controller/status-writer.ts',
        find: 'return client.replaceStatus(object, status, options);',
        replace: 'return client.replaceStatus(object, status, options).catch(() => object);',
      },
      {
        file: 'src/jobs/names.ts',
        find: 'sha256(`${task.uid}/${attempt}`)',
        replace: 'sha256(`${task.uid}/${attempt}/${process.pid}`)',
      },
    ],
  },
];
