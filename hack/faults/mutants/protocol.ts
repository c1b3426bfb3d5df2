import type { Mutant } from './mutant.ts';

const TASK = 'src/reconcilers/task';

/** Bugs of the write protocol: claims, identities, stale copies. */
export const PROTOCOL_MUTANTS: readonly Mutant[] = [
  {
    name: 'generate-name',
    breaks: 'the API server makes up the name of a Job, so a second create does not collide',
    row: 'O2',
    edits: [
      {
        file: `${TASK}/reconcile.ts`,
        find: 'const metadata = { name, namespace, labels, annotations, ownerReferences };',
        replace:
          'const metadata = { generateName: `${name}-`, namespace, labels, annotations, ownerReferences };',
      },
    ],
  },
  {
    name: 'no-uid-check',
    breaks: 'Jobs and pods are deleted by name alone, so a successor of the same name may be hit',
    row: 'B3',
    edits: [
      {
        file: 'src/controller/client.ts',
        find: '...(uid ? { uid } : {}), ...(resourceVersion',
        replace: '...(resourceVersion',
      },
    ],
  },
  {
    name: 'create-before-claim',
    breaks: 'the Job is created before the claim was accepted, so a stale copy starts work',
    row: 'D9/task@claim',
    edits: [
      {
        file: `${TASK}/reconcile.ts`,
        find: '  if (plan.status !== seen.task.status) {\n    const now',
        replace:
          '  if (plan.create) await createJob(deps.jobs, plan.create, signal);\n  if (plan.status !== seen.task.status) {\n    const now',
      },
    ],
  },
  {
    name: 'claim-without-version',
    breaks: 'a status is written whatever has been written meanwhile',
    row: 'B8',
    edits: [
      {
        file: 'src/controller/client.ts',
        find: "call<T>('PUT', objectPath(type, object.metadata, 'status'), options, {\n        body: statusBody(type, object, status),\n      }),",
        replace:
          "call<T>('PATCH', objectPath(type, object.metadata, 'status'), options, {\n        body: { status },\n        contentType: 'application/merge-patch+json',\n      }),",
      },
    ],
  },
  {
    name: 'ignored-conflict',
    breaks: 'a refused status write is taken for done',
    row: 'D1/uid@claim',
    edits: [
      {
        file: 'src/controller/status-writer.ts',
        find: 'return client.replaceStatus(object, status, options);',
        replace: 'return client.replaceStatus(object, status, options).catch(() => object);',
      },
    ],
  },
  {
    name: 'refetch-by-name',
    breaks: 'after a conflict the old decision is written over the newest copy of that name',
    row: 'D1/decides-anew',
    edits: [
      {
        file: 'src/controller/status-writer.ts',
        find: 'return client.replaceStatus(object, status, options);',
        replace:
          'return client\n    .replaceStatus(object, status, options)\n    .catch(async () => client.replaceStatus((await client.get(object.metadata, options)) ?? object, status, options));',
      },
    ],
  },
  {
    name: 'no-relist',
    breaks: 'no periodic list repairs what a watch never told',
    row: 'C3/task-MODIFIED',
    edits: [
      {
        file: 'src/controller/informer.ts',
        find: 'this.#auditAtMs = this.#clock.monotonicMs() + relistMs * (0.9 + 0.2 * this.#random());',
        replace: 'this.#auditAtMs = relistMs + Number.POSITIVE_INFINITY;',
      },
    ],
  },
  {
    name: 'absence-from-cache',
    breaks: 'a Job that the cache does not show counts as missing without a live read',
    row: 'B7/pods-first',
    edits: [
      {
        file: `${TASK}/plan.ts`,
        find: 'function missing(seen: Observed, attempt: Attempt): TaskPlan {\n  if (!seen.live) {',
        replace: 'function missing(seen: Observed, attempt: Attempt): TaskPlan {\n  if (Number.isNaN(0)) {',
      },
    ],
  },
  {
    name: 'job-removed-by-ttl',
    breaks: 'a finished Job is removed by its own ttl, perhaps before anybody saw how it ended',
    row: 'A2/finished',
    edits: [
      {
        file: 'src/jobs/job.ts',
        find: 'backoffLimit: 0,',
        replace: 'backoffLimit: 0,\n      ttlSecondsAfterFinished: 0,',
      },
    ],
  },
  {
    name: 'attempt-from-stale-cache',
    breaks: 'the number of the next attempt follows from the Jobs of the cache',
    row: 'B7/pods-first',
    edits: [
      {
        file: `${TASK}/begin.ts`,
        find: 'const number = numberOfNext(before);',
        replace: 'const number = Math.max(0, ...seen.jobs.map((job) => job.attempt ?? 0)) + 1;',
      },
      {
        file: `${TASK}/begin.ts`,
        find: 'if (seen.task.status?.attempt && !seen.live)',
        replace: 'if (Number.isNaN(0))',
      },
    ],
  },
  {
    name: 'finalizer-dropped-early',
    breaks: 'a Job is let go of before its pod has stopped, and nobody waits for the pod',
    row: 'P2/at-once',
    edits: [
      {
        file: 'src/controller/execute.ts',
        find: "propagation = 'Foreground'",
        replace: "propagation = 'Background'",
      },
      {
        file: `${TASK}/stop.ts`,
        find: "return seen.jobs.some((job) => jobVerdict(job) === 'unfinished') || ownPods(seen).some(isAlive);",
        replace: "return seen.jobs.some((job) => jobVerdict(job) === 'unfinished');",
      },
    ],
  },
  {
    name: 'phase-regress',
    breaks: 'a running task that has to wait again goes back to Pending',
    row: 'F10/preempted',
    edits: [
      {
        file: `${TASK}/follow.ts`,
        find: "const phase = seen.task.status?.phase === 'Running' ? 'Running' : 'Pending';",
        replace: "const phase = 'Pending';",
      },
    ],
  },
];
