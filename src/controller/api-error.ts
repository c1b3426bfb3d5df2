/** One entry of `Status.details.causes`. */
export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface ApiErrorInit {
  readonly method: string;
  readonly path: string;
  readonly code: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: StatusDetails;
  /** From Retry-After or `details.retryAfterSeconds`. */
  readonly retryAfterMs?: number;
}

/** The API server answered with a failure. The outcome of a write is known unless {@link isUnknownOutcome} says otherwise. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly method: string;
  readonly path: string;
  readonly code: number;
  /** Kubernetes' one-word reason, e.g. `AlreadyExists`; empty when the body was no Status. */
  readonly reason: string;
  readonly details: StatusDetails | undefined;
  readonly causes: readonly StatusCause[];
  readonly retryAfterMs: number | undefined;

  constructor({ method, path, code, reason = '', message = '', details, retryAfterMs }: ApiErrorInit) {
    super(`${method} ${path} answered ${code}${reason && ` ${reason}`}${message && `: ${message}`}`);
    this.method = method;
    this.path = path;
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.causes = details?.causes ?? [];
    this.retryAfterMs = retryAfterMs;
  }
}

/** A write was sent and no answer came: it may or may not have happened. Read again before acting. */
export class UnknownOutcomeError extends Error {
  override readonly name = 'UnknownOutcomeError';
}

/** The API server could not be reached, or a read got no answer; nothing was changed. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** The body sent or received is larger than the transport allows. */
export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError';
}

const isApiError = (error: unknown, code: number): error is ApiError =>
  error instanceof ApiError && error.code === code;

export const isNotFound = (error: unknown): error is ApiError => isApiError(error, 404);

/** A stale resourceVersion or a failed precondition. Not AlreadyExists, which is 409 too. */
export const isConflict = (error: unknown): error is ApiError =>
  isApiError(error, 409) && error.reason === 'Conflict';

export const isAlreadyExists = (error: unknown): error is ApiError =>
  isApiError(error, 409) && error.reason === 'AlreadyExists';

/** The resourceVersion or continue token is too old: list again from the start. */
export const isGone = (error: unknown): error is ApiError =>
  isApiError(error, 410) || (error instanceof ApiError && error.reason === 'Expired');

export const isForbidden = (error: unknown): error is ApiError => isApiError(error, 403);

export const isUnauthorized = (error: unknown): error is ApiError => isApiError(error, 401);

/** Refused by schema, CEL or validation: the same request can never succeed. */
export const isInvalid = (error: unknown): error is ApiError =>
  isApiError(error, 422) && !isAdmissionDenied(error);

/** A policy or a webhook of the cluster refused the object, with whatever 4xx it likes; tomorrow it may not. */
export const isAdmissionDenied = (error: unknown): boolean =>
  error instanceof ApiError && error.code >= 400 && error.code < 500 && DENIAL.test(error.message);

const DENIAL =
  /(admission webhook "[^"]*" denied the request|ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request)/;

/** A webhook that must be asked did not answer. The server asks before it stores: nothing was done. */
export const isAdmissionFailed = (error: unknown): boolean =>
  error instanceof ApiError && error.code >= 500 && error.message.includes('failed calling webhook');

export const isTooMany = (error: unknown): error is ApiError => isApiError(error, 429);

/** The namespace is being deleted; nothing can be created in it any more. */
export const isNamespaceTerminating = (error: unknown): error is ApiError =>
  isForbidden(error) && error.causes.some((cause) => cause.reason === 'NamespaceTerminating');

/** A ResourceQuota of the namespace is used up; it may free itself. */
export const isQuotaExceeded = (error: unknown): error is ApiError =>
  isForbidden(error) && error.message.includes('exceeded quota');

/** True when a write may have happened although it did not succeed: no answer, or a 5xx that does not say. */
export function isUnknownOutcome(error: unknown): boolean {
  if (error instanceof UnknownOutcomeError) return true;
  if (!(error instanceof ApiError) || error.method === 'GET' || isAdmissionFailed(error)) return false;
  return error.code >= 500 && !(error.code === 503 && error.retryAfterMs !== undefined);
}
