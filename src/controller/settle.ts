import {
  ApiError,
  isAdmissionDenied,
  isAdmissionFailed,
  isConflict,
  isForbidden,
  isInvalid,
  isNamespaceTerminating,
  isQuotaExceeded,
  isTooMany,
  isUnknownOutcome,
  UnreachableError,
} from './api-error.ts';
import { LeadershipLostError } from './leader.ts';

/** Not a failure: something outside has to happen first. The queue looks again after `retryAfterMs`. */
export class WaitError extends Error {
  override readonly name = 'WaitError';
  readonly reason: string;
  readonly retryAfterMs: number;

  constructor(reason: string, message: string, retryAfterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Retrying cannot help; a person has to change something, and that change brings the key back. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export type Next =
  | { readonly do: 'after'; readonly ms: number }
  | { readonly do: 'backoff' }
  | { readonly do: 'rest' };

/** What a person may see of a failure. */
export interface Report {
  readonly reason: string;
  readonly message: string;
}

export interface Settled {
  readonly next: Next;
  /** Absent: nothing a user can act on. */
  readonly report?: Report;
}

/** The one place where a failure becomes a queue decision and a user-facing reason. */
export function settle(error: unknown): Settled {
  if (error instanceof WaitError)
    return { next: { do: 'after', ms: error.retryAfterMs }, report: reportOf(error) };
  if (error instanceof TerminalError) return { next: { do: 'rest' }, report: reportOf(error) };
  if (isPassing(error)) return { next: { do: 'backoff' } };
  if (error instanceof ApiError && error.retryAfterMs !== undefined)
    return { next: { do: 'after', ms: error.retryAfterMs } };
  return { next: { do: 'backoff' }, report: { reason: reasonFor(error), message: messageOf(error) } };
}

/** The text of an error with its causes, for people. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${messageOf(error.cause)}` : error.message;
}

const reportOf = ({ reason, message }: WaitError | TerminalError): Report => ({ reason, message });

/** Nothing a user can act on: a stale copy, an overloaded or silent API server, a shutdown. */
function isPassing(error: unknown): boolean {
  if (isConflict(error) || isUnknownOutcome(error)) return true;
  if (isTooMany(error) && error.retryAfterMs === undefined) return true;
  return error instanceof UnreachableError || error instanceof LeadershipLostError || isAbort(error);
}

function reasonFor(error: unknown): string {
  if (isQuotaExceeded(error)) return 'QuotaExceeded';
  if (isNamespaceTerminating(error)) return 'NamespaceTerminating';
  if (isAdmissionDenied(error)) return 'AdmissionDenied';
  if (isAdmissionFailed(error)) return 'AdmissionFailed';
  if (isForbidden(error)) return 'Forbidden';
  return isInvalid(error) ? 'InvalidObject' : 'ReconcileFailed';
}

const isAbort = (error: unknown): boolean =>
  error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError');
