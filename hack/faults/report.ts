import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Result } from '../../test/faults/rig/row.ts';
import { ROOT } from '../gen/files.ts';
import { MUTANTS } from './mutants/index.ts';
import { MUTANT, PLAN, rowOf, type Summary } from './summary.ts';

const FILE = join(ROOT, 'docs', 'reliability.md');
const BEGIN = '<!-- faults:begin, written by make faults -->';
const END = '<!-- faults:end -->';

/** Puts the table of a complete run between the two marks of docs/reliability.md. */
export function writeReport(summary: Summary): void {
  const text = readFileSync(FILE, 'utf8');
  const [before, rest] = split(text, BEGIN);
  const [, after] = split(rest, END);
  writeFileSync(FILE, `${before}${BEGIN}\n${tables(summary)}\n${END}${after}`);
}

function split(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark);
  if (at < 0) throw new Error(`docs/reliability.md lacks the line ${mark}`);
  return [text.slice(0, at), text.slice(at + mark.length)];
}

const isPlan = ({ id }: Result): boolean => PLAN.test(id);

function tables({ results, rows, plans, killed, mutants }: Summary): string {
  const cases = results.filter((entry) => !entry.id.startsWith(MUTANT) && !isPlan(entry));
  return [
    `${rows} rows, ${plans} plans, mutants ${killed}/${mutants} killed.`,
    '',
    '| row | what happens, and what holds | result |',
    '|---|---|---|',
    ...planLines(results.filter(isPlan)),
    ...cases.map(({ id, title, ok }) => `| ${id} | ${title.replaceAll('|', '\\|')} | ${verdict(ok)} |`),
    '',
    '| mutant | what is broken | killed by | result |',
    '|---|---|---|---|',
    ...MUTANTS.map(({ name, breaks, row }) => {
      const entry = results.find(({ id }) => id === `${MUTANT}${name}`);
      return `| ${name} | ${breaks} | ${row} | ${entry?.ok ? 'killed' : 'alive'} |`;
    }),
  ].join('\n');
}

const PLAN_TITLES: Readonly<Record<string, string>> = {
  A1: 'the operator is killed around each distinct write of the reference workload: before it is sent, after it was carried out, after the answer',
  E3: 'crash plans again, while a second operator also believes to lead',
};

function planLines(plans: readonly Result[]): string[] {
  return [...new Set(plans.map(({ id }) => rowOf(id)))].map((row) => {
    const own = plans.filter(({ id }) => rowOf(id) === row);
    const good = own.filter(({ ok }) => ok).length;
    return `| ${row}, ${own.length} plans | ${PLAN_TITLES[row] ?? ''} | ${good} of ${own.length} hold |`;
  });
}

const verdict = (ok: boolean): string => (ok ? 'holds' : '**fails**');
