import { ApiError, UnreachableError } from './api-error.ts';

const RETRIED_READS: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);

/** Whether the same call may be sent again by itself: always safe for reads, for writes only when nothing was done. */
export function mayRetry(method: string, error: unknown): boolean {
  if (error instanceof UnreachableError) return true;
  if (!(error instanceof ApiError)) return false;
  if (method === 'GET') return RETRIED_READS.has(error.code);
  return error.code === 429 || (error.code === 503 && error.retryAfterMs !== undefined);
}
