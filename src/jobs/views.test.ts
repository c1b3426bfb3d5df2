import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { jobView, podView } from './views.ts';

const metadata = {
  name: 't-1',
  namespace: 'lab',
  uid: 'u',
  resourceVersion: '1',
  creationTimestamp: '2026-03-01T12:00:00Z',
};
const job = (spec: object, conditions: readonly object[] = []) =>
  jobView({ metadata, spec, status: { conditions } });
const pod = (more: object) => podView({ metadata: { ...metadata, ...more }, spec: {} });
const owner = (kind: string) => ({ kind, name: 'made-it', uid: 'o', controller: true });

describe('jobView()', () => {
  it('takes a Job for suspended until the Job controller has begun', () => {
    assert.equal(job({}).suspended, false);
    assert.equal(job({ suspend: true }).suspended, true);
    assert.equal(job({ suspend: false }, [{ type: 'Suspended', status: 'True' }]).suspended, true);
    assert.equal(job({ suspend: false }, [{ type: 'Suspended', status: 'False' }]).suspended, false);
  });

  it('names the controller in charge only when it is not the usual one', () => {
    assert.equal(job({ managedBy: 'kubernetes.io/job-controller' }).managedBy, undefined);
    assert.equal(job({ managedBy: 'example.org/queue' }).managedBy, 'example.org/queue');
  });
});

describe('podView()', () => {
  it('knows the Job that made a pod, also when nothing owns the pod any more', () => {
    const labels = { 'batch.kubernetes.io/job-name': 'by-label' };
    assert.equal(pod({ labels, ownerReferences: [owner('Job')] }).jobName, 'made-it');
    assert.equal(pod({ labels }).jobName, 'by-label');
    assert.equal(pod({ labels, ownerReferences: [owner('ReplicaSet')] }).jobName, undefined);
  });
});
