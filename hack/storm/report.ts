import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ROOT } from '../gen/files.ts';

/** What is kept of a storm. */
export const stormReport = z.object({
  seed: z.int(),
  minutes: z.int(),
  tasks: z.int(),
  faultEverySeconds: z.int(),
  people: z.array(
    z.object({
      way: z.enum(['kubectl', 'elsi']),
      behaviour: z.string(),
      hand: z.string().optional(),
      hasCallback: z.boolean(),
    }),
  ),
  struck: z.array(z.object({ target: z.string(), how: z.string(), recoverySeconds: z.number() })),
  /** Phase and reason -> tasks that were there at the end. */
  ends: z.record(z.string(), z.int()),
  attempts: z.int(),
  /** Of callbacks, repeated ones too. */
  deliveries: z.int(),
  /** To ELSI. */
  puts: z.int(),
  violations: z.array(z.string()),
});
export type StormReport = z.input<typeof stormReport>;
type Report = z.output<typeof stormReport>;

const FILE = join(ROOT, 'docs', 'reliability.md');
const BEGIN = '<!-- storm:begin, written by make storm -->';
const END = '<!-- storm:end -->';

/** Puts the report of a storm between the two marks of docs/reliability.md. */
export function writeReport(report: Report): void {
  const text = readFileSync(FILE, 'utf8');
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  if (from < 0 || to < from) throw new Error(`docs/reliability.md lacks the lines ${BEGIN} and ${END}`);
  writeFileSync(FILE, `${text.slice(0, from)}${BEGIN}\n${reportLines(report).join('\n')}\n${text.slice(to)}`);
}

/** One line for a log. */
export function summaryLine({ seed, minutes, tasks, struck, violations }: Report): string {
  return `storm: seed ${seed}, ${minutes} min, ${tasks} tasks, ${struck.length} faults, ${violations.length} violations`;
}

export function reportLines(report: Report): string[] {
  const { seed, minutes, tasks, faultEverySeconds, people, struck, ends, violations } = report;
  const count = (is: (person: Report['people'][number]) => boolean): number => people.filter(is).length;
  const flags = `--seed ${seed} --minutes ${minutes} --tasks ${tasks} --fault-every ${faultEverySeconds}`;
  const hands = Object.entries(Object.groupBy(people, ({ hand }) => hand ?? 'none'))
    .filter(([hand]) => hand !== 'none')
    .map(([hand, all]) => `${all?.length ?? 0} ${hand}`);
  return [
    `\`make storm ARGS="${flags}"\`: ${struck.length} faults, ${violations.length} violations.`,
    '',
    `${tasks} tasks: ${count(({ way }) => way === 'kubectl')} by kubectl (${count(({ hasCallback }) => hasCallback)} with a callback), ${count(({ way }) => way === 'elsi')} by ELSI; what people did with them: ${hands.join(', ')}. ${report.attempts} attempts, ${report.deliveries} deliveries of callbacks, ${report.puts} PUTs to ELSI.`,
    '',
    '| end | tasks |',
    '|---|---|',
    ...Object.entries(ends)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([end, all]) => `| ${end} | ${all} |`),
    '',
    '| fault | times | seconds until all was well again: median, longest |',
    '|---|---|---|',
    ...faultRows(struck),
    ...violations.map((violation) => `\n**${violation}**`),
  ];
}

function faultRows(struck: Report['struck']): string[] {
  return [...Map.groupBy(struck, ({ target, how }) => `${target}: ${how}`)]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([fault, all]) => {
      const times = all.map(({ recoverySeconds }) => recoverySeconds).toSorted((a, b) => a - b);
      return `| ${fault} | ${all.length} | ${times[Math.floor((times.length - 1) / 2)]}, ${times.at(-1)} |`;
    });
}
