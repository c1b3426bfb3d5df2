/** ELSI answered with something that is no success, or not at all. */
export class ElsiError extends Error {
  override readonly name = 'ElsiError';
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** From Retry-After. */
  readonly retryAfterMs: number | undefined;

  constructor(
    what: string,
    {
      status = 0,
      retryAfterMs,
      ...options
    }: ErrorOptions & { status?: number; retryAfterMs?: number | undefined } = {},
  ) {
    super(what, options);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}
