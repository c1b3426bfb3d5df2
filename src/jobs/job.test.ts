import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { Job } from 'kubernetes-models/batch/v1';
import { describe, it } from 'mocha';
import { stringify } from 'yaml';
import { agentRequest } from '../api/request.ts';
import { ANNOTATION } from '../api/keys.ts';
import { desiredJob } from './job.ts';
import { jobName } from './names.ts';
import type { AttemptInput } from './request.ts';
import { aModel, aTask, DEFAULTS } from './testing/fixtures.ts';

const input = (given: Partial<AttemptInput> = {}): AttemptInput => ({
  task: aTask(),
  model: aModel(),
  attempt: 1,
  parameters: {},
  ...given,
});

/** Golden files show a reviewer what kubelet gets to see. UPDATE_GOLDEN=1 writes them anew. */
const golden: Record<string, AttemptInput> = {
  'per-file': input(),
  'per-file-retry': input({
    task: aTask({ retryOf: 'night-0' }),
    retried: { uid: 'earlier-uid', identity: 'earlier-uid', outputName: 'night-0', manifestSha256: 'ab' },
  }),
  'per-dataset-on-a-gpu': input({
    task: aTask({
      dataset: { path: 'lab 1/$(corpus)', directory: 'child 2' },
      parameters: { batch: '4' },
      queue: 'gpus',
      priority: 'High',
    }),
    model: aModel({
      run: {
        per: 'Dataset',
        command: ['run', '{inputDir}', '{outputDir}', '--batch={param.batch}', '$HOME'],
        env: [{ name: 'CACHE', value: '$(HOME)/x' }],
        scratch: [
          { path: '/app/cache', seedFromImage: true },
          { path: '/work', sizeLimit: '5Gi' },
        ],
        shm: '1Gi',
      },
      gpu: { count: 2 },
      nodeSelector: { gpu: 'a100' },
      tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists' }],
      runtimeClassName: 'nvidia',
    }),
    attempt: 3,
    parameters: { batch: '4' },
  }),
  worker: input({
    task: aTask({ dataset: { path: 'lab 1/corpus_0a0b0c0d-1111-2222-3333-444444444444' } }),
    model: aModel({ run: { per: 'Dataset', worker: 'Redis', env: [{ name: 'VTC_DEVICE', value: 'gpu' }] } }),
  }),
};

describe('desiredJob()', () => {
  for (const [name, given] of Object.entries(golden)) {
    const job = desiredJob(given, DEFAULTS);

    it(`builds the Job of ${name}.golden.yaml`, () => {
      const file = new URL(`./testing/${name}.golden.yaml`, import.meta.url);
      const text = stringify(job, { lineWidth: 0, aliasDuplicateObjects: false });
      if (process.env['UPDATE_GOLDEN']) writeFileSync(file, text);
      assert.equal(
        text,
        readFileSync(file, 'utf8'),
        `run again with UPDATE_GOLDEN=1 if ${name} was meant to change`,
      );
    });

    it(`builds a valid Job (${name})`, () => {
      new Job(job).validate();
    });

    it(`gives the agent a request that it can read (${name})`, () => {
      const text = job.spec?.template.metadata?.annotations?.[ANNOTATION.request];
      assert.ok(text);
      assert.equal(agentRequest.parse(JSON.parse(text)).task.uid, 'task-uid');
    });

    it(`asks for no privilege (${name})`, () => {
      const pod = job.spec?.template.spec;
      assert.ok(pod);
      assert.equal(pod.automountServiceAccountToken, false);
      for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
        assert.equal(container.securityContext?.allowPrivilegeEscalation, false, container.name);
        assert.deepEqual(container.securityContext?.capabilities, { drop: ['ALL'] }, container.name);
      }
    });
  }

  it('leaves every pod a grace, for without one its deletion would not wait for its containers', () => {
    const run = { per: 'Dataset' as const, command: ['vad'], terminationGracePeriodSeconds: 0 };
    const { template } = desiredJob(input({ model: aModel({ run }) }), DEFAULTS).spec ?? {};
    assert.equal(template?.spec?.terminationGracePeriodSeconds, 1);
  });
});

describe('jobName()', () => {
  it('is the same for the same attempt, and another for any other', () => {
    const task = { name: 'night-1', uid: 'u' };
    assert.equal(jobName(task, 1), jobName(task, 1));
    assert.notEqual(jobName(task, 1), jobName(task, 2));
    assert.notEqual(jobName(task, 1), jobName({ ...task, uid: 'v' }, 1));
  });

  it('is a valid label of at most 63 characters for any task name', () => {
    for (const name of ['a', 'a'.repeat(63), `${'a'.repeat(51)}-b`, `${'a'.repeat(51)}.b`]) {
      assert.match(jobName({ name, uid: 'u' }, 1), /^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/);
    }
  });
});

describe('the identity under which a task publishes', () => {
  const elsiTask = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
  const labels = { 'analysis.elsi.dev/origin': 'elsi', 'analysis.elsi.dev/elsi-task': elsiTask };
  const rows: Readonly<
    Record<string, readonly [name: string, labels: Record<string, string>, identity: string]>
  > = {
    'is the uid of the task': ['night-1', {}, 'task-uid'],
    'is that of ELSI for a task of ELSI': [`elsi-${elsiTask}`, labels, `elsi:${elsiTask}`],
    'is the same for a further run': [`elsi-${elsiTask}-r2`, labels, `elsi:${elsiTask}`],
    'is its own for a task that only bears the labels': ['night-1', labels, 'task-uid'],
  };
  for (const [title, [name, given, identity]] of Object.entries(rows))
    it(title, () => {
      const task = aTask();
      const job = desiredJob(
        input({ task: { ...task, metadata: { ...task.metadata, name, labels: given } } }),
        DEFAULTS,
      );
      const request: unknown = JSON.parse(
        job.spec?.template.metadata?.annotations?.[ANNOTATION.request] ?? '',
      );
      assert.equal(agentRequest.parse(request).identity, identity);
    });
});
