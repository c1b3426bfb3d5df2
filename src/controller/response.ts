import { retryAfterMs } from '../lib/retry-after.ts';
import { reasonOf } from './clock.ts';
import type { StatusDetails } from './api-error.ts';
import { ApiError, BodyTooLargeError, UnknownOutcomeError, UnreachableError } from './api-error.ts';

interface ResponseHead {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

interface StatusBody {
  readonly reason?: string;
  readonly message?: string;
  readonly details?: StatusDetails;
}

const MESSAGE_CHARS = 2048;

/** The typed error of an answer with status 300 or above, whether its body is a Status or a proxy's page. */
export function statusErrorOf(
  method: string,
  path: string,
  { statusCode, headers }: ResponseHead,
  text: string,
): ApiError {
  const { reason, message, details } = parseStatus(text);
  const waitMs = retryAfterMs(headers['retry-after']) ?? secondsToMs(details?.retryAfterSeconds);
  return new ApiError({
    method,
    path,
    code: statusCode,
    ...(reason === undefined ? {} : { reason }),
    message: (message ?? text).slice(0, MESSAGE_CHARS),
    ...(details === undefined ? {} : { details }),
    ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
  });
}

/** The error of an in-stream ERROR event of a watch; its object is a Status with a code. */
export function watchErrorOf(path: string, status: unknown): ApiError {
  const { code } = isRecord(status) ? status : {};
  const { reason, message, details } = statusFields(status);
  return new ApiError({
    method: 'GET',
    path,
    code: typeof code === 'number' ? code : 500,
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message: message.slice(0, MESSAGE_CHARS) }),
    ...(details === undefined ? {} : { details }),
  });
}

/**
 * What a failed call means: the caller's own abort stays as it is; a connection that never was is UnreachableError;
 * a lost read too; a lost write is UnknownOutcomeError.
 */
export function failureOf(
  cause: unknown,
  method: string,
  path: string,
  signal: AbortSignal | undefined,
): Error {
  if (cause instanceof ApiError || cause instanceof BodyTooLargeError) return cause;
  if (signal?.aborted) return reasonOf(signal);
  const code = codeOf(cause);
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
    return new BodyTooLargeError(`${method} ${path}: the answer is larger than allowed`, { cause });
  }
  if (method === 'GET' || NEVER_SENT.has(code))
    return new UnreachableError(`${method} ${path} got no answer`, { cause });
  return new UnknownOutcomeError(`${method} ${path} got no answer and may have happened`, { cause });
}

const UNTRUSTED: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** Failures before the first byte of a request leaves. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
  ...UNTRUSTED,
]);

/** The server's certificate does not fit our certificate authority, which may have been renewed. */
export const isUntrusted = (cause: unknown): boolean => UNTRUSTED.has(codeOf(cause));

function codeOf(cause: unknown): string {
  return isRecord(cause) && typeof cause['code'] === 'string' ? cause['code'] : '';
}

function parseStatus(text: string): StatusBody {
  try {
    return statusFields(JSON.parse(text));
  } catch {
    return {}; // a proxy's HTML page: the text itself is the message
  }
}

function statusFields(value: unknown): StatusBody {
  if (!isRecord(value)) return {};
  const { reason, message, details } = value;
  return {
    ...(typeof reason === 'string' ? { reason } : {}),
    ...(typeof message === 'string' ? { message } : {}),
    ...(isRecord(details) ? { details } : {}),
  };
}

const secondsToMs = (seconds: number | undefined): number | undefined =>
  typeof seconds === 'number' && seconds >= 0 ? seconds * 1000 : undefined;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;
