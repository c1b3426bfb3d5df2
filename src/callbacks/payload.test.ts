import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { z } from 'zod';
import { aTask, claimed } from '../jobs/testing/fixtures.ts';
import { payloadOf } from './payload.ts';

const entry = {
  id: 'evt_1',
  type: 'dev.elsi.analysis.task.failed',
  sequence: 2,
  endpoint: 'lab',
  time: '2026-03-01T12:00:00.000Z',
};
const status = claimed({
  phase: 'Failed',
  reason: 'ModelError',
  message: `exit code 3: ${'子'.repeat(900)}`,
  finishedAt: '2026-03-01T12:00:00.000Z',
});
const event = z.looseObject({ data: z.looseObject({ message: z.string().optional() }) });

describe('payloadOf()', () => {
  it('says what happened and where to look, in less than 20 kB whatever the status holds', () => {
    const text = payloadOf(aTask({}, status), entry);
    assert.ok(Buffer.byteLength(text) < 20_000);
    const { data, ...attributes } = event.parse(JSON.parse(text));
    assert.deepEqual(attributes, {
      specversion: '1.0',
      id: 'evt_1',
      type: 'dev.elsi.analysis.task.failed',
      source: '/apis/analysis.elsi.dev/v1alpha1/namespaces/lab/analysistasks/night-1',
      subject: 'task-uid',
      time: '2026-03-01T12:00:00.000Z',
      sequence: '2',
      datacontenttype: 'application/json',
    });
    assert.equal(data['phase'], 'Failed');
    assert.equal(data.message?.length, 300);
  });

  it('is the same however often it is built', () => {
    assert.equal(payloadOf(aTask({}, status), entry), payloadOf(structuredClone(aTask({}, status)), entry));
  });
});
