/** How much is annotated in an input: the effort of models that work on segments rather than on recordings. */
import { linesOf, LongLineError } from './lines.ts';

/** No line of annotations is longer. */
const LINE_CHARS = 1048576;
const RTTM_DURATION = 4;
const ONSET = 'segment_onset';
const OFFSET = 'segment_offset';

/**
 * Sum of the segments in seconds: of ChildProject's CSV (`segment_onset` and `segment_offset` in milliseconds) or of
 * RTTM. 0 for a file that is neither: effort is a hint, so what cannot be read does not refuse an input.
 */
export async function annotatedSeconds(file: string): Promise<number> {
  const isTable = /\.csv$/i.test(file);
  let secondsOf = isTable ? undefined : rttmSeconds;
  let sum = 0;
  try {
    for await (const line of linesOf(file, LINE_CHARS)) {
      if (secondsOf === undefined) secondsOf = tableSeconds(line);
      else sum += secondsOf(line);
    }
  } catch (error) {
    if (!(error instanceof LongLineError)) throw error;
    return 0; // no annotations, whatever its name says
  }
  return sum;
}

function rttmSeconds(line: string): number {
  const fields = line.trim().split(/\s+/);
  return fields[0] === 'SPEAKER' ? positive(Number(fields[RTTM_DURATION])) : 0;
}

/** The reader of the lines below a table's head. */
function tableSeconds(head: string): (line: string) => number {
  const names = fieldsOf(head);
  const [onset, offset] = [names.indexOf(ONSET), names.indexOf(OFFSET)];
  return (line) => {
    const fields = fieldsOf(line);
    return positive((Number(fields[offset]) - Number(fields[onset])) / 1000);
  };
}

function positive(seconds: number): number {
  return Number.isFinite(seconds) && seconds > 0 ? seconds : 0;
}

const FIELD = /("(?:[^"]|"")*"|[^,]*)(?:,|$)/gy;

/** Fields of one line of CSV; a field that goes over several lines is read as several short ones. */
function fieldsOf(line: string): string[] {
  const text = line.replace(/^\uFEFF/, '').trimEnd();
  return [...text.matchAll(FIELD)].map(([, field = '']) =>
    field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field,
  );
}
