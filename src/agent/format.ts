/** Is a file of a format complete? Checked while it streams by, in bounded memory. */
import type { ModelOutput } from '../api/model.ts';

export type OutputFormat = ModelOutput['format'];

export interface FormatCheck {
  readonly update: (chunk: Buffer) => void;
  /** Second half of a sentence about the file, or undefined when it is complete. */
  readonly finish: () => string | undefined;
}

const NEWLINE = 0x0a;
const LONGEST_LINE = 65536;
/** JSON above this size is checked by its first and last character only. */
export const JSON_LIMIT = 64 * 1024 * 1024;

const RTTM_TYPES: ReadonlySet<string> = new Set([
  'SPEAKER',
  'SPKR-INFO',
  'LEXEME',
  'NON-LEX',
  'NON-SPEECH',
  'NOSCORE',
  'NO_RT_METADATA',
  'SEGMENT',
  'SU',
  'A/P',
  'CB',
  'IP',
  'EDIT',
  'FILLER',
]);
const RTTM_FIELDS = 9;

/** A check of the given format, for one file. An empty file is not its business. */
export function formatCheck(format: OutputFormat): FormatCheck {
  switch (format) {
    case 'Any':
      return { update: () => undefined, finish: () => undefined };
    case 'Text':
    case 'Csv':
      return textCheck();
    case 'Rttm':
      return rttmCheck();
    case 'Json':
      return jsonCheck();
  }
}

function textCheck(): FormatCheck {
  let last: number | undefined;
  let hole = false;
  return {
    update: (chunk) => {
      hole ||= chunk.includes(0);
      last = chunk.at(-1) ?? last;
    },
    finish: () => {
      if (hole) return 'contains NUL bytes, so a part of it was never written';
      return last === undefined || last === NEWLINE ? undefined : 'is cut off: its last line has no end';
    },
  };
}

function rttmCheck(): FormatCheck {
  const text = textCheck();
  let rest = '';
  let number = 0;
  let problem: string | undefined;
  return {
    update: (chunk) => {
      text.update(chunk);
      const lines = `${rest}${chunk.toString('latin1')}`.split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > LONGEST_LINE)
        problem ??= `is no RTTM: line ${number + lines.length + 1} does not end`;
      for (const line of lines) {
        number++;
        problem ??= rttmProblem(line, number);
      }
      if (problem !== undefined) rest = '';
    },
    finish: () => problem ?? text.finish(),
  };
}

function rttmProblem(line: string, number: number): string | undefined {
  const trimmed = line.trim();
  if (trimmed === '' || trimmed.startsWith(';')) return undefined;
  const fields = trimmed.split(/\s+/);
  if (!RTTM_TYPES.has(fields[0] ?? '')) {
    return `is no RTTM: line ${number} begins with ${JSON.stringify((fields[0] ?? '').slice(0, 40))} instead of SPEAKER or another RTTM type`;
  }
  if (fields.length >= RTTM_FIELDS) return undefined;
  return `is cut off or no RTTM: line ${number} has ${fields.length} fields instead of ${RTTM_FIELDS} or 10`;
}

function jsonCheck(): FormatCheck {
  let chunks: Buffer[] | undefined = [];
  let size = 0;
  let first = '';
  let tail = '';
  return {
    update: (chunk) => {
      size += chunk.length;
      if (first === '') first = chunk.toString('latin1').trimStart().slice(0, 1);
      tail = `${tail}${chunk.toString('latin1')}`.slice(-4096);
      if (size > JSON_LIMIT) chunks = undefined;
      chunks?.push(Buffer.from(chunk));
    },
    finish: () => {
      if (chunks !== undefined) return parseProblem(Buffer.concat(chunks));
      const ends = `${first}${tail.trimEnd().slice(-1)}`;
      return ends === '{}' || ends === '[]'
        ? undefined
        : 'is cut off: it does not end with the bracket it begins with';
    },
  };
}

function parseProblem(bytes: Buffer): string | undefined {
  try {
    JSON.parse(bytes.toString('utf8'));
    return undefined;
  } catch (error) {
    return `is not whole JSON (${error instanceof Error ? error.message.slice(0, 120) : 'unknown error'})`;
  }
}
