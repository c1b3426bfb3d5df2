import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseTask } from './seen.ts';

const raw = (status: object): unknown => ({
  apiVersion: 'analysis.elsi.dev/v1alpha1',
  kind: 'AnalysisTask',
  metadata: {
    name: 'one',
    namespace: 'lab',
    uid: 'u',
    resourceVersion: '7',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
  },
  spec: { model: 'vad', dataset: { path: 'corpus' } },
  status,
});

describe('parseTask()', () => {
  it('keeps what a newer version wrote into the status, at any depth', () => {
    const status = {
      phase: 'Running',
      reason: 'Running',
      later: { new: true },
      attempt: {
        number: 2,
        jobName: 'one-2',
        claimedBy: 'somebody',
        claimedAt: '2026-01-01T00:00:00Z',
        queuePosition: 3,
      },
      failures: [
        { attempt: 1, category: 'ModelError', message: 'x', at: '2026-01-01T00:00:00Z', hint: 'more memory' },
      ],
    };
    assert.deepEqual(parseTask(raw(status)).status, status);
  });

  it('refuses a status that it cannot read', () => {
    assert.throws(() => parseTask(raw({ phase: 'Enlightened' })));
  });
});
