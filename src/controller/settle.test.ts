import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ApiError, UnknownOutcomeError, UnreachableError } from './api-error.ts';
import { LeadershipLostError } from './leader.ts';
import { messageOf, settle, TerminalError, WaitError } from './settle.ts';

const api = (
  code: number,
  reason = '',
  more: { message?: string; retryAfterMs?: number; method?: string } = {},
) => new ApiError({ method: 'PUT', path: '/x', code, reason, ...more });

const DENIED = `jobs.batch "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not today`;

describe('settle()', () => {
  const cases: Record<string, { error: unknown; next: string; reason: string | undefined }> = {
    'waits as told, with the reason': {
      error: new WaitError('Queued', 'Waits for a GPU', 7000),
      next: 'after 7000',
      reason: 'Queued',
    },
    'rests on what only a person can change': {
      error: new TerminalError('InvalidInput', 'No'),
      next: 'rest',
      reason: 'InvalidInput',
    },
    'is silent about a stale copy': { error: api(409, 'Conflict'), next: 'backoff', reason: undefined },
    'reports a taken name, which is 409 too': {
      error: api(409, 'AlreadyExists'),
      next: 'backoff',
      reason: 'ReconcileFailed',
    },
    'is silent about a lost answer': {
      error: new UnknownOutcomeError('lost'),
      next: 'backoff',
      reason: undefined,
    },
    'is silent about a 500 on a write, whose outcome nobody knows': {
      error: api(500),
      next: 'backoff',
      reason: undefined,
    },
    'reports a 500 on a read': {
      error: api(500, '', { method: 'GET' }),
      next: 'backoff',
      reason: 'ReconcileFailed',
    },
    'says that a policy refuses, which is no invalid object although it is 422': {
      error: api(422, 'Invalid', { message: DENIED }),
      next: 'backoff',
      reason: 'AdmissionDenied',
    },
    'says that a webhook refuses, which is no missing right although it is 403': {
      error: api(403, 'Forbidden', { message: 'admission webhook "x.y" denied the request: not today' }),
      next: 'backoff',
      reason: 'AdmissionDenied',
    },
    'says that a webhook does not answer: that 500 means that nothing was done': {
      error: api(500, 'InternalError', { message: 'failed calling webhook "x.y": deadline exceeded' }),
      next: 'backoff',
      reason: 'AdmissionFailed',
    },
    'is silent when the API server is away': {
      error: new UnreachableError('away'),
      next: 'backoff',
      reason: undefined,
    },
    'honours Retry-After': {
      error: api(429, '', { retryAfterMs: 3000 }),
      next: 'after 3000',
      reason: undefined,
    },
    'is silent about throttling without Retry-After': { error: api(429), next: 'backoff', reason: undefined },
    'names a used-up quota': {
      error: api(403, 'Forbidden', { message: 'jobs.batch "x" is forbidden: exceeded quota: gpu' }),
      next: 'backoff',
      reason: 'QuotaExceeded',
    },
    'names missing rights': { error: api(403, 'Forbidden'), next: 'backoff', reason: 'Forbidden' },
    'names an object the server refuses': {
      error: api(422, 'Invalid'),
      next: 'backoff',
      reason: 'InvalidObject',
    },
    'is silent about a lost lease': {
      error: new LeadershipLostError('lost'),
      next: 'backoff',
      reason: undefined,
    },
    'is silent about a shutdown': {
      error: new DOMException('stop', 'AbortError'),
      next: 'backoff',
      reason: undefined,
    },
    'reports a bug': {
      error: new TypeError('x is not a function'),
      next: 'backoff',
      reason: 'ReconcileFailed',
    },
    'survives a thrown string': { error: 'oops', next: 'backoff', reason: 'ReconcileFailed' },
  };
  for (const [name, { error, next, reason }] of Object.entries(cases)) {
    it(name, () => {
      const settled = settle(error);
      assert.equal(settled.next.do === 'after' ? `after ${settled.next.ms}` : settled.next.do, next);
      assert.equal(settled.report?.reason, reason);
    });
  }

  it('messageOf() tells the whole chain of causes', () => {
    const error = new Error('Cannot create Job', { cause: new Error('quota') });
    assert.equal(messageOf(error), 'Cannot create Job: quota');
  });
});
