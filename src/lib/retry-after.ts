/** Longer waits are cut to this, some eleven days: a timer cannot hold much more. */
const LONGEST_MS = 999_999_000;

/** Milliseconds that a Retry-After header asks for, in seconds or as a date; undefined when there is none or it is nonsense. */
export function retryAfterMs(header: string | string[] | undefined, nowMs = Date.now()): number | undefined {
  const text = (Array.isArray(header) ? header[0] : header)?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Math.min(Number(text) * 1000, LONGEST_MS);
  // Only the form with a day of the week, so that no number is taken for a year.
  const at = /^[A-Z][a-z]{2},/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.min(Math.max(0, at - nowMs), LONGEST_MS);
}
