import { writeFile } from 'node:fs/promises';
import type { AgentReport } from '../api/request.ts';

/** kubelet keeps 4 KiB per message and 12 KiB per pod; every step stays below its share. */
export const REPORT_BYTES = 2048;
const MESSAGE_CHARS = 900;
const UNIT_CHARS = 200;

/** Shortens a text to a number of UTF-16 units without cutting a character in half. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const cut = text.slice(0, Math.max(0, limit - 1));
  const whole = /[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut;
  return `${whole}…`;
}

/** Fits a report into its byte limit: first the failed units go, then the message is shortened. */
export function fitReport(report: AgentReport): string {
  let message = shorten(report.message, MESSAGE_CHARS);
  let failedUnits = report.failedUnits?.slice(0, 4).map((unit) => shorten(unit, UNIT_CHARS));
  for (let round = 0; round < 64; round++) {
    const { failedUnits: _replaced, ...rest } = report;
    const units = failedUnits === undefined || failedUnits.length === 0 ? {} : { failedUnits };
    const text = JSON.stringify({ ...rest, message, ...units });
    if (Buffer.byteLength(text) <= REPORT_BYTES) return text;
    if (failedUnits !== undefined && failedUnits.length > 1) failedUnits = failedUnits.slice(0, -1);
    else message = shorten(message, Math.floor(message.length * 0.8));
  }
  return JSON.stringify({ v: 1, message: 'the report does not fit: see the log of this container' });
}

/** Writes the termination message. A pod whose log cannot be written still ends with the right exit code. */
export async function writeReport(
  file: string,
  report: AgentReport,
  log: (line: string) => void,
): Promise<void> {
  try {
    await writeFile(file, fitReport(report));
  } catch (error) {
    log(`cannot write the termination message: ${error instanceof Error ? error.message : String(error)}`);
  }
}
